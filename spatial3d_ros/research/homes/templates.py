"""Templates of predicates and sentences. A relation template that begins with ~ is used in the
split "test" only; the sentence templates of the splits are disjoint.

{a}, {b}: anchors with their articles; {as}: plural; {v}: the object that the viewer faces. A
relation template follows a noun or the word "is". One that begins with + is an adjective, one with
= follows a noun, or the word "has" instead of "with".
"""

from __future__ import annotations

RELATION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "near": (
        "next to {a}", "next to {a}", "beside {a}", "by {a}", "near {a}", "close to {a}",
        "right next to {a}", "adjacent to {a}", "right by {a}", "beside {a}", "located near {a}",
        "sitting next to {a}", "along side {a}", "over by {a}", "~alongside {a}",
        "~not far from {a}", "~just beside {a}",
    ),
    "on": (
        "supported by {a}",
        "on {a}", "on top of {a}", "on {a}", "sitting on {a}", "placed on {a}", "resting on {a}",
        "sitting on top of {a}", "that sits on {a}", "laying on {a}", "~lying on top of {a}",
        "~set on {a}",
    ),
    "before": (
        "facing {v}", "facing the front of {v}", "looking at the front of {v}", "facing {v}",
        "if you are facing {v}", "when looking at {v}", "standing in front of {v}",
        "if you stand in front of {v}",
        "~seen from in front of {v}",
    ),
    "in": ("in {a}", "inside {a}", "on {a}", "inside of {a}", "~within {a}"),
    "above": (
        "above {a}", "over {a}", "hanging above {a}", "directly above {a}", "right above {a}",
        "on the wall above {a}", "~up over {a}",
    ),
    "below": (
        "under {a}", "below {a}", "underneath {a}", "beneath {a}", "directly below {a}",
        "right under {a}", "that is under {a}", "~down below {a}",
    ),
    "closest": (
        "closest to {a}", "closest to {a}", "nearest to {a}", "nearest {a}", "nearest to {a}",
        "that is closest to {a}", "which is nearest {a}", "that is the closest to {a}",
        "closest {a}", "closer to {a}", "nearer to {a}", "by {a}", "next to {a}",
        "~that stands closest to {a}", "~at the shortest distance from {a}",
    ),
    "farthest": (
        "farthest from {a}", "furthest from {a}", "farthest away from {a}",
        "furthest away from {a}", "away from {a}", "far from {a}", "that is farthest from {a}",
        "farther from {a}", "the most far away from {a}", "~at the greatest distance from {a}",
    ),
    "left": (
        "to the left of {a}", "on the left of {a}", "left of {a}", "on the left side of {a}",
        "to the left side of {a}", "directly to the left of {a}", "~on the left hand of {a}",
    ),
    "right": (
        "to the right of {a}", "on the right of {a}", "right of {a}", "on the right side of {a}",
        "to the right side of {a}", "directly to the right of {a}", "~on the right hand of {a}",
    ),
    "front": (
        "in front of {a}", "directly in front of {a}", "in front of {a}", "right in front of {a}",
        "~just before {a}",
    ),
    "behind": (
        "behind {a}", "in back of {a}", "at the back of {a}", "directly behind {a}",
        "right behind {a}", "~to the rear of {a}",
    ),
    "across": (
        "across from {a}", "opposite {a}", "opposite of {a}", "directly across from {a}",
        "on the opposite side of {a}", "~face to face with {a}",
    ),
    "facing": (
        "facing {a}", "that faces {a}", "that is facing {a}", "pointing at {a}",
        "turned towards {a}", "~with its front towards {a}",
    ),
    "back to": (
        "facing away from {a}", "that has its back to {a}", "with its back to {a}",
        "~turned away from {a}",
    ),
    "end": (
        "at the end of {a}", "at the head of {a}", "at one end of {a}", "on the end of {a}",
        "at the short side of {a}", "~at the far end of {a}",
    ),
    "middle": (
        "at the middle of {a}", "in the middle of {a}", "at the center of {a}",
        "~halfway along {a}",
    ),
    "between": (
        "between {a} and {b}", "in between {a} and {b}", "in the middle of {a} and {b}",
        "between {a} and {b}", "located between {a} and {b}", "that is between {a} and {b}",
        "=with {a} on one side and {b} on the other", "~standing between {a} and {b}",
    ),
    "two": (
        "between the two {as}", "between the {as}", "in between the two {as}",
        "in the middle of the two {as}", "~standing between both {as}",
    ),
    "corner": (
        "in the corner", "in the corner of the room", "in a corner", "in the corner of the room",
        "tucked in the corner", "~right in a corner of this room",
    ),
    "centre": (
        "in the middle of the room", "in the center of the room", "in the middle of the floor",
        "in the center", "~out in the middle of this room",
    ),
    "wall": (
        "against the wall", "along the wall", "up against the wall", "by the wall", "on the wall",
        "~close against a wall",
    ),
    "floor": ("on the floor", "on the ground", "sitting on the floor", "~down on the floor"),
    "with on": (
        "=with {an} on it", "=with {an} on top of it", "=with {an} on top", "that {an} is on",
        "=with {an} sitting on it", "=with {an} in it", "~=with {an} resting on it",
    ),
    "with near": (
        "=with {an} next to it", "=with {an} beside it", "=with {an} by it", "=with {an} near it",
        "~=with {an} at its side",
    ),
    "with above": (
        "=with {an} above it", "=with {an} over it", "that is under {an}",
        "~=with {an} up above it",
    ),
    "with below": (
        "=with {an} under it", "=with {an} underneath", "=with {an} below it",
        "~=with {an} beneath it",
    ),
    "order left": (
        "on the left", "on the far left", "furthest to the left", "farthest left", "+leftmost",
        "+far left", "+left", "to the left", "furthest left", "all the way to the left",
        "+left most", "on the left side", "~at the left hand end",
    ),
    "order right": (
        "on the right", "on the far right", "furthest to the right", "farthest right", "+rightmost",
        "+far right", "+right", "to the right", "furthest right", "all the way to the right",
        "+right most", "on the right side", "~at the right hand end",
    ),
    "order middle": (
        "in the middle", "in the center", "+middle", "+center", "in the middle", "in between",
        "that is in the middle of the others", "~right in the centre",
    ),
    "order from": (
        "{k} from the {side}", "that is {k} from the {side}", "{k} to the {side}",
        "{k} from {side}", "~number {n} counted from the {side}",
    ),
    "side left": (
        "on the left", "on your left", "on the left side", "on the left side of the room",
        "to the left", "to your left", "on the left hand side", "~off to your left",
    ),
    "side right": (
        "on the right", "on your right", "on the right side", "on the right side of the room",
        "to the right", "to your right", "on the right hand side", "~off to your right",
    ),
    "view": (
        "facing {v}", "if you are facing {v}", "when looking at {v}", "looking at {v}",
        "if you face {v}", "when facing {v}", "if you are looking at {v}",
        "when you are facing {v}", "from the middle of the room looking at {v}",
        "with {v} in front of you", "standing in front of {v} and looking at it",
        "while facing {v}", "looking towards {v}", "~with your eyes on {v}",
        "~if you turn towards {v}",
    ),
    "enter": (
        "when entering through {v}", "when you enter the room", "as you enter the room",
        "when you walk in {v}", "coming in through {v}", "standing at {v} looking in",
        "when entering the room", "if you are entering {v}", "walking in {v}", "from {v}",
        "with your back to {v}", "~as you come in through {v}",
    ),
}  # fmt: skip
SIZE_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "+large": ("largest", "biggest", "large", "big", "bigger", "larger"),
    "-large": ("smallest", "small", "smaller", "tiniest", "littlest"),
    "+tall": ("tallest", "taller", "tall"), "-tall": ("shortest", "shorter", "short"),
    "+long": ("longest", "widest", "longer", "wider", "long"), "-long": ("narrowest", "narrower"),
    "+high": ("highest", "top", "upper", "higher", "top most"),
    "-high": ("lowest", "bottom", "lower", "bottom most"),
}  # fmt: skip
"""A measure with its sign; comparatives are for two candidates only."""
SHAPE_ADJECTIVES = {
    "square": ("square", "square shaped"), "rectangular": ("rectangular", "rectangle shaped"),
    "long": ("long",), "tall": ("tall", "skinny"),
}  # fmt: skip
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")

# whole: {np} "brown chair by the door", {the}, {a_np} with an article; modifier: {n} the noun,
# {adj} with its adjectives, {p} the modifier after it; more: {is} "is by the door", {bare}
# without "is"; group: {count} {ns} {g} the objects it is one of; pick: {one}; chain: {first} the
# anchor.
SENTENCE_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "whole": (
            "{the}", "{the}", "{the}", "{the}", "{np}", "{np}", "choose {the}", "pick {the}",
            "select {the}", "find {the}", "it is {the}", "it's {the}", "please choose {the}",
            "choose {np}", "you want {the}", "the target is {the}", "i am {the}", "this is {the}",
            "click on {the}", "look for {the}", "pick out {the}", "you are looking for {the}",
            "we need {the}", "where is {the}?", "its {the}", "there is {a_np}", "this is {a_np}",
            "go to {the}", "the correct one is {the}", "{a_np}",
        ),
        "modifier": (
            "the {adj} is {p}", "this {n} is {p}", "the {adj} that is {p}", "the {adj} located {p}",
            "the correct {n} is the one {p}", "the {n} you want is {p}",
            "it is the {n} that is {p}", "it is {p}", "the {n} {p}", "choose the {n} that is {p}",
            "the one {p}, a {adj}", "there is {a_adj} {p}", "{p} there is {a_adj}",
            "{p}, the {adj}", "{p} is {a_adj}", "{a_adj} is {p}", "find the {adj} which is {p}",
            "the {n}. {p}", "pick the {n}, it is {p}", "you need the {n} {p}",
            "the {n} we are looking for is {p}", "{p}, you will find the {adj}",
        ),
        "intro": (
            "this is {a_adj}.", "there is {a_adj}.", "this is {a_adj}.", "it is {a_adj}.",
            "{a_adj}.", "there is {a_adj} in the room.", "you are looking for {a_adj}.",
            "the {adj}.", "the object is {a_adj}.", "it's {a_adj}.", "find {a_adj}.",
        ),
        "more": (
            "it {is}.", "it {is}.", "the {n} {is}.", "this {n} {is}.", "it {is}.", "this one {is}.",
            "and it {is}.", "the {n} {is}.", "it also {is}.", "{bare}.",
        ),
        "group": (
            "there are {count} {ns}{g}. {pick}", "of the {count} {ns}{g}, {pick}",
            "out of the {count} {ns}{g}, {pick}", "there are {count} {ns}{g}. you want {one}",
            "there are {count} {ns}{g}, it is {one}", "among the {ns}{g}, {one}",
            "{one} of the {count} {ns}{g}", "look at the {count} {ns}{g}. {pick}",
            "find the {ns}{g}. {pick}", "the {ns}{g}, {one}", "of the {ns}{g}, {one}",
            "{one} out of the {count} {ns}{g}", "you will see {count} {ns}{g}. {pick}",
            "in the group of {count} {ns}{g}, {pick}",
        ),
        "chain": (
            "find {first}. {pick}", "there is {a_first}. {pick}", "look for {first}. {pick}",
            "locate {first}. you want {one}", "see {first}? it is {one}", "go to {first}. {pick}",
            "there's {a_first}. it is {one}",
        ),
        "view": (
            "{v}, {s}", "{v}, {s}", "{v} {s}", "{s} {v}", "{s}, {v}", "{v}, choose {s}",
            "{v}, it is {s}", "{v}, pick {s}", "{v}, select {s}", "{s} when {v}", "{v}, find {s}",
            "{s} if you're {v}",
        ),
        "pick": (
            "choose {one}", "pick {one}", "select {one}", "it is {one}", "you want {one}",
            "find {one}", "{one}", "please select {one}", "the correct one is {one}", "its {one}",
        ),
        "exclude": (
            "not the one {p}", "not {p}", "do not choose the one {p}", "and not the one {p}",
        ),
    },
    "test": {
        "whole": (
            "could you show me {the}", "i would like {the}", "my pick would be {the}",
            "which one is {the}",
        ),
        "modifier": (
            "what you are after stands {p}: the {adj}", "the {adj}, {p}, please",
            "look {p} for the {adj}", "i mean the {n} which is {p}",
        ),
        "intro": ("what i mean is {a_adj}.", "here we have {a_adj}.", "imagine {a_adj}."),
        "more": ("you will notice that it {is}.", "note that it {is}.", "as you can see, it {is}."),
        "group": ("i see {count} {ns}{g}; {pick}", "between these {count} {ns}{g}, {pick}"),
        "chain": ("first look at {first}; then {pick}", "beginning at {first}, {pick}"),
        "view": ("{v}, my choice is {s}", "i mean {s}, {v}"),
        "pick": ("take {one}", "point at {one}", "i mean {one}"),
        "exclude": ("but never the one {p}", "i do not mean the one {p}"),
    },
}  # fmt: skip
