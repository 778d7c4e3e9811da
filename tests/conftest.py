"""Fixtures that several test folders use."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import tiny
from qwen7b import kernels

# What a script starts in its background ignores Ctrl-C, and under nohup a hang-up, and so would all that tests start.
# A signal with a handler, even one that does nothing, is reset in what is started.
for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
    number = getattr(signal, name, None)  # Windows has but the first
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# Tests run on the CPU, also those that leave the choice of a device to qwen7b.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
torch.backends.mps.is_available = functools.cache(lambda: False)  # cached as torch's own, whose inside torch looks at

# On tiny models a second thread only waits, and on a busy machine it waits long.
torch.set_num_threads(1)

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Where there is no library its one warning is due here, before warnings become errors; the tests' own processes need
# not repeat it in what they print.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    if kernels.instruction_set() is None:
        if Path(kernels.__file__).with_name("qwen7b_kernels.so").exists() and "QWEN7B_KERNELS" not in os.environ:
            raise pytest.UsageError(
                "the native library is older than its sources, and would be left out: run make test"
            )
        os.environ.setdefault("QWEN7B_KERNELS", "none")


def pytest_configure(config: pytest.Config) -> None:
    # A folder that is only read keeps no cache of pytest's, which is no fault of the tests.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestCacheWarning")


@pytest.fixture
def any_protection() -> None:
    """For tests that run code out of models: they need a machine that can protect itself."""
    from qwen7b.errors import SandboxError
    from qwen7b.sandbox import find_protection

    try:
        find_protection()
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that shares the user's fetched models, so that packed weights of tests do not litter it."""
    from qwen7b.system.environment import cache_folder

    models = cache_folder() / "models"
    cache = tmp_path_factory.mktemp("cache")
    try:
        models.mkdir(parents=True, exist_ok=True)
        (cache / "models").symlink_to(models, target_is_directory=True)
    except OSError:  # a home that cannot be written: what tests fetch is gone with them
        (cache / "models").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("QWEN7B_CACHE", str(cache))
        yield
    shutil.rmtree(cache / "packed", ignore_errors=True)


@pytest.fixture(scope="session")
def kept_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes folders that last from one run of the tests to the next, where the checkout can be written."""

    def make(name: str) -> Path:
        cache = getattr(request.config, "cache", None)  # which may be switched off
        try:
            return tmp_path_factory.mktemp(name) if cache is None else Path(cache.mkdir(name))
        except OSError:
            return tmp_path_factory.mktemp(name)

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden vectors and texts that lie beside the repository where it is developed."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared with the original's reference vectors")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The original's reference vectors: all of them where the repository is developed, else the few it holds itself."""
    here = Path(__file__).resolve().parent
    everything = here.parents[1] / "shared" / "golden"
    return everything if everything.is_dir() else here / "golden"


@pytest.fixture(scope="session")
def demo_gguf() -> Path:
    """The demo model's file, fetched on first use."""
    from qwen7b.errors import DownloadError, ResourceError
    from qwen7b.hub import locate

    try:
        return locate("demo")
    except (DownloadError, ResourceError) as error:
        pytest.skip(f"the demo model cannot be had here: {error}")


@pytest.fixture(scope="session")
def tiny_chat_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random first-generation chat model of 320 rows and its tokenizer."""
    torch.manual_seed(0)
    return tiny.write_folder(
        tmp_path_factory.mktemp("tiny"),
        tiny.V11_CONFIG,
        tiny.qwen_tensors(),
        tokenizer=True,
        generation={"chat_format": "chatml", "eos_token_id": 266, "max_new_tokens": 24, "do_sample": False},
    )
