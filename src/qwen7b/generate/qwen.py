"""`Qwen`: a model with its tokenizer and defaults. Prompts and conversations in, replies out."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from qwen7b.checkpoint import GenerationSettings
from qwen7b.checkpoint.chat_verdict import Verdict, check_chats, decide_chat, find_endings
from qwen7b.config import ModelConfig
from qwen7b.config.checked import flag, items, whole_number
from qwen7b.dialects import Dialect
from qwen7b.dialects.registry import dialect_of, find_dialect
from qwen7b.errors import PromptError, quoted
from qwen7b.generate.answers import Answers, last_reply, single_pieces, single_stream
from qwen7b.generate.call_settings import Call, ChatSettings, CheckedSettings, CompletionSettings, default_sampling
from qwen7b.generate.continuations import Text
from qwen7b.generate.engine import Engine
from qwen7b.generate.grammar import GrammarCompiler
from qwen7b.generate.named_adapters import NamedAdapters
from qwen7b.generate.offered_tools import ToolSettings, read_tool_settings
from qwen7b.generate.prompt_ids import ChatInput, chat_ids, conversation_ids, text_ids
from qwen7b.generate.reply import Piece, Reply
from qwen7b.generate.reply_builder import ReplyBuilder
from qwen7b.generate.saved_prefixes import SavedPrefixes
from qwen7b.generate.scorer import Scorer
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.generate.speculate_setting import NONE, choose_drafter
from qwen7b.model import Transformer
from qwen7b.sampling.sampling import Sampling
from qwen7b.sampling.sampling import samplings as samplings_of
from qwen7b.text import Message, Tokenizer
from qwen7b.text.messages import split_turns


class Qwen(Scorer):
    """A model with its tokenizer, ready to talk. It holds no conversation: each call is given its own.

    Threads and asyncio tasks may call at once: one engine continues all their replies together, and each gets the
    reply that it would get alone.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        generation: GenerationSettings | None = None,
        context_length: int | None = None,
        name: str = "",
        source: str | None = None,
        chat: bool | None = None,
        saved: SavedPrefixes | None = None,
        speculate: str | Qwen | Transformer | None = None,
        dialect: str | Dialect | None = None,
        adapters: Mapping[str, str | Path] | None = None,
    ) -> None:
        """`source` finds the model again, where its name says more. A draft model for `speculate` has to be loaded."""
        if context_length is not None:
            whole_number("context_length", context_length, minimum=2)
        if chat is not None:
            flag("chat", chat)
        self.model, self.tokenizer = model, tokenizer
        self.name, self.source = name, name if source is None else source
        self.generation = generation or GenerationSettings()
        self.context_length = context_length or model.config.context_length
        self.endings = find_endings(self.generation, tokenizer)
        """The ids that end a reply, each with the file and field that say so."""
        self.stop_ids = frozenset(self.endings)
        sequences = map(tokenizer.decode, self.generation.stop_sequences)
        self._stop_strings = (*self.generation.stop_strings, *sequences)
        self.default_sampling = default_sampling(self.generation)
        self._chat = chat
        self._saved = saved
        self.speculate, self._draft_model = choose_drafter(speculate, tokenizer=tokenizer)
        self.adapters = NamedAdapters(model, adapters)
        self.dialect = find_dialect(dialect or dialect_of(tokenizer, name=name), tokenizer)
        """The way in which the model is told of tools and writes calls, where a call says no other."""
        self._engines: dict[int, SharedEngine] = {}
        self.grammars = GrammarCompiler(tokenizer, stop_ids=self.stop_ids)

    def __repr__(self) -> str:
        """
        >>> load("demo")  # doctest: +SKIP
        Qwen('demo', q8, 32,768 tokens)
        """
        where = "" if self.model.device.type == "cpu" else f" on {self.model.device}"
        return f"Qwen({self.name!r}, {self.model.precision}{where}, {self.context_length:,} tokens)"

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @property
    def is_chat(self) -> bool:
        """True where the model was trained to chat: as `chat` said when it was loaded, else as its files tell."""
        return self._verdict.is_chat

    @property
    def _verdict(self) -> Verdict:
        return decide_chat(self.generation, self.tokenizer, self.config, override=self._chat)

    def add_adapter(self, name: str, path: str | Path) -> None:
        """Load an adapter, or a run's last one, for calls with `adapter=name`, also while others are answered."""
        self.adapters.add(name, path)

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter. Replies that are under way still end with it; its memory is free after that."""
        self.adapters.remove(name)

    def chat(self, messages: ChatInput, **settings: Unpack[ChatSettings]) -> Reply:
        """Answer a question, or a conversation of {"role", "content"} messages that ends with one.

        Where the last message is the assistant's, it is the beginning of the reply: the model goes on from its last
        character, and the reply is only what is new.

        Settings, all optional, are the fields of `ChatSettings`: temperature, top_p, seed and the other fields of
        `Sample`, which replace the checkpoint's own one by one (temperature 0 is greedy), or sampling, which replaces
        all of them; max_new_tokens, stop, history_token_limit, logprobs, processors, response_format, speculate,
        adapter, priority, ntk and on_prompt; and those of `ToolSettings`, with which the reply may make `tool_calls`.
        Ctrl-C ends the reply and keeps its text so far: its finish_reason is then "interrupted". Raises SettingError
        for a setting that is unknown, out of range or at odds with another, and PromptError where the prompt does not
        fit the context, where the conversation has no question, or where the model is a base model.

        >>> qwen.chat("1+1=?", temperature=0.7, max_new_tokens=16).text  # doctest: +SKIP
        """
        return self.chat_batch([messages], **settings)[0]

    def stream(self, messages: ChatInput, **settings: Unpack[ChatSettings]) -> Generator[Piece, None, None]:
        """Like `chat`, piece by piece; the last piece carries the whole `reply`."""
        return single_stream(self.answers("chat", [messages], settings))

    async def achat(self, messages: ChatInput, **settings: Unpack[ChatSettings]) -> Reply:
        """Like `chat`, for an event loop, which it does not block. Many such calls at once are answered together."""
        return await last_reply(self.astream(messages, **settings))

    def astream(self, messages: ChatInput, **settings: Unpack[ChatSettings]) -> AsyncGenerator[Piece, None]:
        """Like `stream`, in an event loop. A task that is cancelled, or a closed generator, ends its reply.

        >>> async for piece in qwen.astream("你好"): print(piece.text, end="")  # doctest: +SKIP
        """
        return single_pieces(self.answers("chat", [messages], settings))

    def count_prompt_tokens(self, messages: Sequence[Message], **settings: Unpack[ToolSettings]) -> int:
        """Count a conversation's tokens with all of its past; a reply's `usage` counts those that it was given."""
        tools = read_tool_settings(settings).definitions
        dialect = find_dialect(settings.get("dialect") or self.dialect, self.tokenizer)
        prompt = conversation_ids(
            split_turns(messages), self.tokenizer, tools=tools, dialect=dialect, history_token_limit=sys.maxsize
        )
        return len(prompt.ids)

    def chat_batch(self, conversations: Sequence[ChatInput], **settings: Unpack[ChatSettings]) -> list[Reply]:
        """Like `chat`, for several conversations at once; each gets the reply that it would get alone."""
        listed = None if isinstance(conversations, (str, Mapping)) else items(conversations)
        if listed is None:
            raise PromptError(
                f"chat_batch takes a list of conversations, found {quoted(conversations)}: chat takes one"
            )
        return self.answers("chat", listed, settings).replies()

    def chat_samples(self, messages: ChatInput, *, n: int, **settings: Unpack[ChatSettings]) -> list[Reply]:
        """Several replies to one conversation, which is read only once.

        Each is drawn as `chat` draws one; with a seed, reply i is that of `chat` with the seed + i. Greedy choice gives
        the same one n times.
        """
        return self.answers("chat", [messages], settings, n=n).replies()

    def complete(
        self, prompt: Text, *, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> Reply:
        """Continue a text, or token ids, which are taken as they are.

        With `control_tokens`, names such as <|im_start|> or <|fim_prefix|> in a text become control tokens; with False
        they are text. By default they are text, too, but a prompt that is plainly written in them is refused. Raises
        PromptError for that, and where the prompt is empty or does not fit the context.

        >>> qwen.complete("<|fim_prefix|>1 +<|fim_suffix|>= 3<|fim_middle|>", control_tokens=True)  # doctest: +SKIP
        """
        return self.complete_batch([prompt], control_tokens=control_tokens, **settings)[0]

    def stream_completion(
        self, prompt: Text, *, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> Generator[Piece, None, None]:
        """Like `complete`, piece by piece; the last piece carries the whole `reply`."""
        return single_stream(self.answers("complete", [prompt], {**settings, "control_tokens": control_tokens}))

    async def acomplete(
        self, prompt: Text, *, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> Reply:
        """Like `complete`, for an event loop, which it does not block."""
        return await last_reply(self.astream_completion(prompt, control_tokens=control_tokens, **settings))

    def astream_completion(
        self, prompt: Text, *, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> AsyncGenerator[Piece, None]:
        """Like `stream_completion`, in an event loop."""
        return single_pieces(self.answers("complete", [prompt], {**settings, "control_tokens": control_tokens}))

    def complete_batch(
        self, prompts: Sequence[Text], *, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> list[Reply]:
        """Like `complete`, for several texts at once; each is continued as it would be alone."""
        listed = None if isinstance(prompts, (str, Mapping)) else items(prompts)
        if listed is None:
            raise PromptError(f"complete_batch takes a list of texts, found {quoted(prompts)}: complete takes one")
        return self.answers("complete", listed, {**settings, "control_tokens": control_tokens}).replies()

    def complete_samples(
        self, prompt: Text, *, n: int, control_tokens: bool | None = None, **settings: Unpack[CompletionSettings]
    ) -> list[Reply]:
        """Several continuations of one text, as `chat_samples` gives several replies."""
        return self.answers("complete", [prompt], {**settings, "control_tokens": control_tokens}, n=n).replies()

    def answers(
        self,
        call: Call,
        inputs: Sequence[Any],
        settings: Mapping[str, Any],
        *,
        n: int = 1,
        samplings: Sequence[Sampling] | None = None,
    ) -> Answers:
        """Prepare n replies to each conversation or text, for a caller that runs many such calls at once.

        `samplings` has another sampling for each reply, instead of that of the settings.
        """
        whole_number("n", n, minimum=1)
        named: Any = {**settings}
        control_tokens = named.pop("control_tokens", None) if call == "complete" else None
        checked = CheckedSettings(self.generation, named, call=call)
        self.adapters.find(checked.adapter)  # raises for an unknown one, before anything is added
        dialect, offered = find_dialect(checked.dialect or self.dialect, self.tokenizer), checked.offered
        length = self.context_length
        if call == "chat":
            check_chats(self._verdict, name=self.name)
            prompts = [chat_ids(one, self.tokenizer, checked, dialect=dialect, context_length=length) for one in inputs]
            grammar = offered.grammar(dialect, self.grammars)
        else:
            prompts = [
                text_ids(one, self.tokenizer, control_tokens=control_tokens, context_length=length) for one in inputs
            ]
            grammar = None
        if checked.constraint is not None:
            grammar = self.grammars.compile(checked.constraint)
            for ignored in grammar.ignored:
                warnings.warn(f"response_format: {ignored}", stacklevel=3)
        repeated = [prompt for prompt in prompts for _ in range(n)]
        max_calls = 0 if not offered.definitions else None if offered.parallel else 1
        if checked.ntk != "recompute" and not self.config.dynamic_ntk:
            warnings.warn(f"ntk={quoted(checked.ntk)} is ignored: this model has no dynamic NTK", stacklevel=2)
        builders = [
            ReplyBuilder(
                self.tokenizer,
                prompt=prompt.ids,
                stop_ids=self.stop_ids,
                stop=(*checked.stop, *self._stop_strings),
                with_logprobs=checked.logprobs is not None,
                parser=dialect.parser(offered.definitions) if prompt.in_dialect else None,
                stop_of_calls=dialect.stop,
                max_calls=max_calls,
                drops_space=prompt.ends_in_mark,
            )
            for prompt in repeated
        ]
        speculate = checked.speculate or self.speculate
        return Answers(
            self._shared,
            [prompt.ids for prompt in repeated],
            builders,
            checked,
            samplings=samplings or samplings_of(checked.sampling, n) * len(prompts),
            context_length=self.context_length,
            speculate=None if speculate == NONE else speculate,
            grammar=grammar,
        )

    @property
    def _shared(self) -> SharedEngine:
        """The engine of this process. A forked process gets its own, as another thread may have been stepping this."""
        process = os.getpid()
        if process not in self._engines:
            engine = Engine(
                self.model,
                vocab_size=self.tokenizer.vocab_size,
                unused_ids=self.tokenizer.unused_ids,
                saved=self._saved,
                draft_model=self._draft_model,
                adapters=self.adapters,
            )
            self._engines.setdefault(process, SharedEngine(engine))  # the first of two threads wins
        return self._engines[process]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_engines": {}}  # a copy makes an engine of its own
