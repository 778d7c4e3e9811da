"""The address of a hub page, as a browser shows it, in; the model that the page is about out."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from qwen7b.errors import ModelNotFoundError
from qwen7b.files.file_names import is_gguf
from qwen7b.hub.protocol import Reference
from qwen7b.system.environment import hub_name

_HOSTS = {
    "huggingface": ("huggingface.co", "hf.co", "hf-mirror.com"),
    "modelscope": ("modelscope.cn", "modelscope.ai", "modelscope.com"),
}
HUB_TITLES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
_DEFAULT_REVISIONS = ("main", "master")
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)|git@(?P<host>[^:/]+):(?P<path>.*)", re.IGNORECASE)
_HUB_OF_SCHEME = {"hf": "hf.co", "huggingface": "hf.co", "modelscope": "modelscope.cn", "ms": "modelscope.cn"}
"""The host for each scheme that programs write before a repository's name, as in hf://Qwen/Qwen-7B-Chat."""
# Below a repository: the kind of page, which revision it shows, and perhaps a file.
_PAGE = re.compile(r"/(?:tree|blob|resolve|raw|commits?|file/view)/(?P<revision>[^/]+)(?:/(?P<file>.+))?")


def parse_address(text: str) -> Reference | None:
    """The model that an address is about; None where the text is no address.

    Raises ModelNotFoundError for an address of something else, and for one on the hub that is not in use.

    >>> parse_address("https://huggingface.co/Qwen/Qwen-7B-Chat/tree/main")
    Reference(repository='Qwen/Qwen-7B-Chat', revision=None, file=None)
    """
    split = _host_and_path(text)
    if split is None:
        return None
    host, path = split
    hub = next((hub for hub, hosts in _HOSTS.items() if host in hosts), None)
    names = [name for name in path.split("/") if name]
    if hub is not None and names[:1] == ["models"]:
        del names[0]
    if hub is None or len(names) < 2 or names[0] in ("datasets", "spaces", "studios", "collections", "papers"):
        raise ModelNotFoundError(
            f"{text:.300} is not the address of a model on Hugging Face or ModelScope: download the model and give its "
            "folder or file, or give a hub id such as Qwen/Qwen-7B-Chat"
        )
    page = _PAGE.match("/" + "/".join(names[2:]))
    file = page["file"] if page else None
    revision = page["revision"] if page and page["revision"] not in _DEFAULT_REVISIONS else None
    reference = Reference(
        repository=f"{names[0]}/{names[1].removesuffix('.git')}",
        revision=revision,
        file=file if file and is_gguf(file) else None,  # a model in another format needs all its files
    )
    if hub != hub_name():
        change = "set QWEN7B_HUB=modelscope" if hub == "modelscope" else "unset QWEN7B_HUB"
        raise ModelNotFoundError(
            f"{text:.300} is on {HUB_TITLES[hub]}, while qwen7b uses {HUB_TITLES[hub_name()]}: {change} and give this "
            f"address again, or the id {reference}"
        )
    return reference


def _page_path(name: str) -> str:
    """The page for the part after a hub's scheme, such as Qwen/Qwen-7B-Chat@main/config.json."""
    match = re.fullmatch(r"((?:models/)?[^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?", name)
    if match is None:
        return name
    repository, revision, file = match.groups()
    return "/".join([repository, "resolve", revision or "main", *([file] if file else [])])


def _host_and_path(text: str) -> tuple[str, str] | None:
    """The host and the path of an address, with or without its scheme."""
    if match := _ADDRESS.fullmatch(text.strip()):
        if match["host"]:
            return match["host"].lower(), match["path"]
        scheme = match["scheme"].lower()
        if host := _HUB_OF_SCHEME.get(scheme):
            return host, _page_path(match["rest"].strip("/"))
        if scheme not in ("http", "https"):
            return scheme, ""
        split = urlsplit(text.strip())
        host = (split.hostname or "").removeprefix("www.")
        endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "").hostname
        return ("hf.co" if endpoint and host == endpoint else host), unquote(split.path)
    host, slash, path = text.strip().partition("/")
    host = host.lower().removeprefix("www.")
    return (host, path) if slash and any(host in hosts for hosts in _HOSTS.values()) else None
