"""Addresses of hub pages, as browsers show them, in; the model they are about out."""

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
_TITLES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
_DEFAULT_REVISIONS = ("main", "master")
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)|git@(?P<host>[^:/]+):(?P<path>.*)", re.IGNORECASE)
_HUB_OF_SCHEME = {"hf": "hf.co", "huggingface": "hf.co", "modelscope": "modelscope.cn", "ms": "modelscope.cn"}
"""The schemes that programs write before a repository's name, as in hf://Qwen/Qwen-7B-Chat."""
# Below a repository: the kind of page, which revision it shows, and perhaps a file.
_PAGES = re.compile(r"/(?:tree|blob|resolve|raw|commits?|file/view)/(?P<revision>[^/]+)(?:/(?P<file>.+))?")


def parse_address(text: str) -> Reference | None:
    """The model that an address is about; None where the text is none.

    Raises ModelNotFoundError for an address of something else, and for one of the hub that is not asked.

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
            f"{text:.300} is no address of a model on Hugging Face or ModelScope: download what is there and give its "
            "folder or file, or give a hub id such as Qwen/Qwen-7B-Chat"
        )
    page = _PAGES.match("/" + "/".join(names[2:]))
    file = page["file"] if page else None
    revision = page["revision"] if page and page["revision"] not in _DEFAULT_REVISIONS else None
    reference = Reference(
        repository=f"{names[0]}/{names[1].removesuffix('.git')}",
        revision=revision,
        file=file if file and is_gguf(file) else None,  # of other models all files are needed
    )
    if hub != hub_name():
        change = "set QWEN7B_HUB=modelscope" if hub == "modelscope" else "unset QWEN7B_HUB"
        raise ModelNotFoundError(
            f"{text:.300} is on {_TITLES[hub]}, while qwen7b asks {_TITLES[hub_name()]}: {change} and give this "
            f"address again, or the id {reference}"
        )
    return reference


def _page(name: str) -> str:
    """The page of what a scheme of a hub names, as in Qwen/Qwen-7B-Chat@main/config.json."""
    found = re.fullmatch(r"((?:models/)?[^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?", name)
    if found is None:
        return name
    repository, revision, file = found.groups()
    return "/".join([repository, "resolve", revision or "main", *([file] if file else [])])


def _host_and_path(text: str) -> tuple[str, str] | None:
    """The host and the path of an address, with or without its scheme."""
    if found := _ADDRESS.fullmatch(text.strip()):
        if found["host"]:
            return found["host"].lower(), found["path"]
        scheme = found["scheme"].lower()
        if host := _HUB_OF_SCHEME.get(scheme):
            return host, _page(found["rest"].strip("/"))
        if scheme not in ("http", "https"):
            return scheme, ""
        split = urlsplit(text.strip())
        host = (split.hostname or "").removeprefix("www.")
        endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "").hostname
        return ("hf.co" if endpoint and host == endpoint else host), unquote(split.path)
    host, slash, path = text.strip().partition("/")
    host = host.lower().removeprefix("www.")
    return (host, path) if slash and any(host in hosts for hosts in _HOSTS.values()) else None
