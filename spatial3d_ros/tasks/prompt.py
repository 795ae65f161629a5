"""The chat prompt of a question (METHODS 1.6, 2.1), the same in training and on the robot.

    [ system | scene | P0 | O | P1 | I | A ]

The sentence that asks for spatial attention is in the system part, so that it is encoded once per
scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from tokenizers import Tokenizer

from spatial3d_ros.errors import QueryError
from spatial3d_ros.model.sequence import PromptTokens, QuestionBatch
from spatial3d_ros.model.tokens import (
    COORD,
    END,
    GROUND,
    MAX_IDENTIFIERS,
    SPECIAL_TOKENS,
    START,
    identifier,
)
from spatial3d_ros.tasks.query_limits import check_length

SYSTEM = "You are a robot that answers about the room it sees. Mind where things are."
OBJECTS = "The objects:"
GROUND_TASK, ANSWER_TASK = "Find:", "Answer:"

CategoryMode = Literal["none", "generate", "given"]


def clean_query(text: str, any_letters: bool = False) -> str:
    """The question with single spaces.

    Raises QueryError if it is empty, too long, contains a special token, or has no Latin letters
    (allowed with `any_letters`: it contains a detector label).
    """
    words = " ".join(text.split())
    if not words:
        raise QueryError(
            "query: empty; ask for an object in plain words, e.g. 'the red mug on the table'"
        )
    check_length(words)
    if not any_letters and not any("a" <= letter <= "z" for letter in words.lower()):
        raise QueryError("query: no Latin letters; this model understands English questions only")
    reserved = [token for token in SPECIAL_TOKENS if token in words]
    if reserved:
        raise QueryError(f"query: '{reserved[0]}' is a special token of the network; leave it out")
    return words


@dataclass(frozen=True)
class Sentence:
    """One tokenized `[P1 | I | A]`: ids, first index of I, first index of A, index of `<ground>`
    (the last index if A is still to be generated).
    """

    ids: tuple[int, ...]
    instruction: int
    answer: int
    ground: int


class Prompt:
    """Builds token ids for one tokenizer; `category_mode` as in `S2Config` (METHODS 1.12)."""

    def __init__(self, tokenizer: Tokenizer, category_mode: CategoryMode = "none") -> None:
        self.tokenizer = tokenizer
        self.category_mode = category_mode
        self.tokens = PromptTokens(
            before=torch.tensor(self.ids(f"{START}system\n{SYSTEM}{END}\n{START}user\n")),
            after=torch.tensor(self.ids(f"\n{OBJECTS}")),
            identifiers=self._identifiers(),
            stops=torch.tensor([tokenizer.token_to_id(token) for token in (END, GROUND)]),
            coord=torch.tensor([tokenizer.token_to_id(COORD)]),
        )
        self._close = self.ids("\n")

    def _identifiers(self) -> torch.Tensor:
        """Tokens of the object slots; none for a network without object tokens."""
        ids = [self.tokenizer.token_to_id(identifier(i)) for i in range(MAX_IDENTIFIERS)]
        return torch.tensor([i for i in ids if i is not None], dtype=torch.long)

    def ids(self, text: str) -> list[int]:
        """Token ids of a piece of text."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def name_ids(self, names: Sequence[str]) -> torch.Tensor:
        """Token ids of labels as they occur inside a sentence, (W, T), padded with -1."""
        ids = [self.ids(f" {name}") for name in names]
        longest = max(map(len, ids))
        return torch.tensor([row + [-1] * (longest - len(row)) for row in ids])

    def grounding(self, query: str, answer: str = "") -> Sentence:
        """One question, and in training the whole turn of the assistant; `answer` is its text.

        none: `<ground>` first, then the text. So the `<ground>` state is available after one pass,
        and never attends to the category. generate, given: the text, then `<ground>`; without an
        answer, `generate` leaves the turn open for generation. Raises QueryError for `given`
        without an answer.
        """
        instruction = self.ids(f"{GROUND_TASK} {query}{END}\n{START}assistant\n")
        end, ground = self.tokens.stops.tolist()
        if self.category_mode == "none":
            reply = [ground, *(self.ids(f" {answer}{END}") if answer else [])]
        elif answer:
            reply = [*self.ids(answer), ground, end]
        elif self.category_mode == "generate":
            reply = []
        else:
            raise QueryError(
                "category_mode: 'given' is for diagnosis; pass the true category with each question"
            )
        start = len(self._close)
        answering = start + len(instruction)
        ids = (*self._close, *instruction, *reply)
        ground_index = answering + reply.index(ground) if reply else answering - 1
        return Sentence(ids, start, answering, ground_index)

    def free_form(self, question: str) -> Sentence:
        """One free-form question, up to where the answer begins."""
        instruction = self.ids(f"{ANSWER_TASK} {question}{END}\n{START}assistant\n")
        ids = (*self._close, *instruction)
        return Sentence(ids, len(self._close), len(ids), len(ids) - 1)

    def reply(self, answer: str) -> list[int]:
        """Token ids of an answer after `<coord>`, and the end of the turn."""
        return self.ids(f" {answer}{END}")

    @lru_cache(maxsize=4)  # noqa: B019 - a prompt lives as long as its network
    def allowed_tokens(self, characters: str) -> torch.Tensor:
        """Ids (K,) of all tokens that consist of these characters, and of the end of a turn."""
        pieces = {i: self.tokenizer.decode([i]) for i in self.tokenizer.get_vocab().values()}
        allowed = {i for i, piece in pieces.items() if piece and set(piece) <= set(characters)}
        return torch.tensor(sorted({*allowed, int(self.tokens.stops[0])}))

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included, without spaces at either end."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False).strip()

    def batch(self, sentences: Sequence[Sentence], scene: Sequence[int]) -> QuestionBatch:
        """Right-pad sentences into one batch; `scene` is the index of the scene of each."""
        longest = max(len(s.ids) for s in sentences)
        ids = torch.zeros(len(sentences), longest, dtype=torch.long)
        index = torch.arange(longest)
        lengths = torch.tensor([len(s.ids) for s in sentences])[:, None]
        for row, sentence in enumerate(sentences):
            ids[row, : len(sentence.ids)] = torch.tensor(sentence.ids)
        begin = torch.tensor([s.instruction for s in sentences])[:, None]
        end = torch.tensor([s.answer for s in sentences])[:, None]
        return QuestionBatch(
            ids=ids,
            real=index < lengths,
            instruction=(index >= begin) & (index < end),
            ground=torch.tensor([s.ground for s in sentences]),
            scene=torch.tensor(list(scene)),
        )

    def labels(self, questions: QuestionBatch, sentences: Sequence[Sentence]) -> torch.Tensor:
        """Next-token targets (Q, L): the assistant's turn only, -100 elsewhere (METHODS 1.10)."""
        index = torch.arange(questions.ids.shape[1])
        answer = torch.tensor([s.answer for s in sentences])[:, None]
        target = torch.full_like(questions.ids, -100)
        target[:, :-1] = questions.ids[:, 1:]
        keep = questions.real[:, 1:] & (index[1:] >= answer)
        keep = torch.nn.functional.pad(keep, (0, 1), value=False)
        return target.masked_fill(~keep, -100)
