"""A process that has used a model forks: its children answer as it does, and none waits for threads it has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

# Two threads, and work that torch deals out to both, whatever this machine has.
BEGINNING = """
import multiprocessing, os, signal, sys, warnings
warnings.simplefilter("ignore")
import torch
import qwen7b
from qwen7b import kernels
folder, format = sys.argv[1], sys.argv[2] or None

def answer(_=None):
    signal.alarm(30)  # a child that hangs is killed, and its parent goes on
    with torch.inference_mode():
        large = torch.ones(3_000_000).exp().sum().item()
    reply = qwen.chat("hello there", sampling=qwen7b.Greedy(), max_new_tokens=8)
    number = qwen.chat("hello there", response_format={"type": "regex", "regex": "[0-9]{3}"})
    signal.alarm(0)
    return reply.token_ids, number.text, round(large)

torch.set_num_threads(2)
kernels.set_num_threads(2)
qwen = qwen7b.load(folder, **({"dtype": "float32"} if format is None else {"quantize": format}))
expected = answer()

def check(_=None):
    return answer() == expected
"""
WAYS = {
    "os.fork": """
children = []
for _ in range(2):
    if (child := os.fork()) == 0:
        os._exit(0 if check() else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children] == [0, 0], check())
""",
    "a fork in a fork": """
if (child := os.fork()) == 0:
    if (grandchild := os.fork()) == 0:
        os._exit(0 if check() else 1)
    os._exit(os.waitpid(grandchild, 0)[1] or not check())
print(os.waitpid(child, 0)[1] == 0, check())
""",
    "multiprocessing": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(all(pool.map_async(check, range(4)).get(100)), check())
""",
    "a thread of the child": """
from concurrent.futures import ThreadPoolExecutor
if (child := os.fork()) == 0:
    with ThreadPoolExecutor(2) as pool:
        os._exit(0 if all(pool.map(check, range(4))) else 1)
print(os.waitpid(child, 0)[1] == 0, check())
""",
    "a data loader": """
class Answers(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, _):
        return check()
loader = torch.utils.data.DataLoader(Answers(), num_workers=2, multiprocessing_context="fork", timeout=100)
print(all(batch.all() for batch in loader), check())
""",
    "a stream of the parent, which cannot go on in the child": """
from threading import Thread
streams = [qwen.stream("hello", max_new_tokens=9) for _ in range(3)]
for stream in streams:
    next(stream)
ending = []
def work():
    while not ending:
        qwen.chat("hello " * 50, max_new_tokens=40)
thread = Thread(target=work)
thread.start()
if (child := os.fork()) == 0:
    signal.alarm(30)
    streams[0].close()
    del streams[1]
    try:
        list(streams[1])
    except qwen7b.errors.SettingError as error:
        os._exit(0 if "forked" in str(error) and check() else 1)
    os._exit(2)
print(os.waitpid(child, 0)[1] == 0, all(list(stream)[-1].reply for stream in streams))
ending.append(1)
thread.join()
""",
    "a server that loads before it forks, and serves on threads": """
import socket, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(repr(answer()).encode())
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
workers = []
for _ in range(2):
    if (worker := os.fork()) == 0:
        server.serve_forever()
    workers.append(worker)
def ask():
    with socket.create_connection(server.server_address, timeout=100) as connection:
        return connection.makefile().read()
replies = [ask() for _ in range(4)]
for worker in workers:
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
print(replies == [repr(expected)] * 4 or (replies, expected), check())
""",
}


@pytest.mark.parametrize("format", ["", "q8"])
def test_children_answer_as_their_parent(tiny_chat_checkpoint: Path, tmp_path: Path, format: str) -> None:
    program = BEGINNING + "".join(f"print({way!r}, end=': ')\n{code}" for way, code in WAYS.items())
    result = subprocess.run(
        [sys.executable, "-u", "-c", program, str(tiny_chat_checkpoint), format],
        capture_output=True,
        text=True,
        timeout=150,
        # Packed weights of this model go elsewhere than the user's.
        env={**os.environ, "OMP_NUM_THREADS": "2", "QWEN7B_CACHE": str(tmp_path)},
    )
    assert result.stdout.splitlines() == [f"{way}: True True" for way in WAYS], result.stderr
    assert result.returncode == 0
