"""Groups of objects that stand together, and the types of rooms that have them, as tables.

A group reads `name: head placement: member relation count, ...`; members stand at the head, or `@`
another member, `count` of them at each. An indented line continues the one before. Placements of a
head: `wall`, `corner`, `floor` (anywhere), `middle`, `grid` (many, in rows), `hung` (on a wall),
`roof`. Relations of a member to its host:

    on, under, beside, front (facing it), around (facing it), above (on the wall over it), inside
    row (more heads, side by side; members listed before it stand at the first one only),
    along (on the wall, as wide as the host), flank (left and right of it on the wall), below (at
    the wall, under what hangs there), corner (like beside), over (under the ceiling, or along the
    front edge), underfoot (on the floor before it), behind, overall (on the whole row)

A room type reads `name weight: size range in m; group count, ...`: the name of a group, or of an
object kind, which then has the placement of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from spatial3d_ros.object_catalog import OBJECT_KINDS, table_rows

_GROUPS = """
bed: bed wall: nightstand beside 0-2, lamp on@nightstand 0-1, alarm clock on@nightstand 0-1,
    pillow on 1-5, blanket on 0-1, picture above 0-2, bag corner 0-1
hotel bed: bed wall: row 1-1, nightstand beside 1-1, lamp on@nightstand 0-2,
    telephone on@nightstand 0-1, pillow on 2-4, picture above 0-1, wall shelf above 0-1
bunk: bunk bed wall: pillow on 1-2, ladder corner 0-1, backpack front 0-1
crib: crib wall: stuffed animal on 0-2, blanket on 0-1
desk: desk wall: office chair front 0-1, monitor on 0-2, keyboard on 0-1, mouse on 0-1,
    lamp on 0-1, computer tower under 0-1, bin under 0-1, books on 0-2, telephone on 0-1,
    mug on 0-1, paper on 0-2, bulletin board above 0-1, backpack corner 0-1
desks: desk wall: row 1-3, office chair front 1-1, monitor on 1-2, keyboard on 0-1,
    computer tower under 0-1, file cabinet under 0-1, paper on 0-1, telephone on 0-1,
    whiteboard above 0-1
desk island: desk middle: office chair front 1-1, monitor on 0-2, keyboard on 0-1,
    computer tower under 0-1, bin beside 0-1, lamp on 0-1, bottle on 0-1
laptop desk: computer desk wall: chair front 1-1, laptop on 1-1, lamp on 0-1, shelf above 0-1,
    books on 0-2, printer on 0-1, bin beside 0-1, poster above 0-1
dining: dining table middle: chair around 2-8, bowl on 0-1, vase on 0-1, ceiling light over 0-1,
    bottle on 0-1
dining wall: table wall: chair front 1-3, chair beside 0-2, microwave on 0-1, bag on 0-1,
    picture above 0-1
round: round table middle: chair around 2-5, mug on 0-2, flowers on 0-1
meeting: conference table middle: office chair around 4-12, telephone on 0-1, laptop on 0-3,
    projector over 0-1, mug on 0-2
tables: table grid: chair around 1-4, laptop on 0-1, paper on 0-1
class: table grid: chair front 1-2
couch: sofa wall: coffee table front 0-1, end table beside 0-2, lamp on@end table 0-1,
    pillow on 0-4, picture above 0-3, floor lamp corner 0-1, books on@coffee table 0-2,
    remote on@coffee table 0-1, rug underfoot 0-1, blanket on 0-1
couches: sofa middle: coffee table front 0-1, armchair beside 0-2, end table beside 0-1,
    lamp on@end table 0-1, throw pillow on 0-3
loveseat: loveseat wall: end table beside 0-1, pillow on 0-2, picture above 0-1
lounge: coffee table middle: armchair around 2-4, magazine on 0-2, rug underfoot 0-1,
    plant corner 0-1
tv: tv stand wall: tv on 0-1, speaker beside 0-2, game console on 0-1, dvd player on 0-1,
    remote on 0-1, plant beside 0-1
kitchen: kitchen cabinet wall: sink on 0-1, microwave on 0-1, coffee maker on 0-1,
    dish rack on 0-1, bottle on 0-2, paper towel roll on 0-1, toaster on 0-1,
    soap dispenser on 0-1, bin front 0-1, jar on 0-2, knife block on 0-1, row 1-4,
    wall cabinet along 0-1, kitchen counter overall 0-1
stove: stove wall: range hood above 0-1, pot on 0-2, kettle on 0-1, kitchen cabinet beside 0-2,
    microwave above 0-1, cutting board on@kitchen cabinet 0-1
fridge: fridge wall: kitchen cabinet beside 0-1, wall cabinet above 0-1, box on 0-2,
    cereal box on 0-1
island: kitchen island middle: bar stool around 1-4, bowl on 0-1, sink on 0-1, bottle on 0-1,
    ceiling light over 0-2
bar: bar wall: stool front 2-4, bottles on 0-2, glass on 0-2
toilet: toilet wall: toilet paper flank 0-2, plunger beside 0-1, toilet brush beside 0-1,
    bin beside 0-1, picture above 0-1, grab bar above 0-1, toiletry on 0-1,
    toilet paper dispenser flank 0-1
vanity: bathroom vanity wall: sink on 0-2, mirror above 0-2, soap dispenser on 0-1, soap on 0-1,
    toothbrush on 0-1, mug on 0-1, towel flank 0-1, ceiling light over 0-1,
    medicine cabinet above 0-1, hair dryer on 0-1, bath mat front 0-1, bin beside 0-1,
    toilet paper under 0-1
washing: counter wall: sink on 1-3, mirror above 1-3, soap dispenser above 0-2,
    paper towel dispenser flank 0-1, bin beside 0-1, bin under 0-1
bath: bathtub corner: shower curtain over 0-2, shower head above 0-1, bath mat front 0-1,
    shampoo bottle on 0-3, soap dish above 0-1, towel above 0-1
stalls: bathroom stall wall: row 1-3, toilet inside 1-1, bathroom stall door front 0-1
books: bookshelf wall: row 0-3, books inside 1-5, box on 0-1, vase on 0-1, binder inside 0-2,
    picture inside 0-1
shelf: shelf wall: row 0-1, box inside 0-3, books inside 0-2, container inside 0-2,
    printer on 0-1, storage bin inside 0-2
racks: bookshelf grid: books inside 2-4
files: file cabinet wall: row 0-3, box on 0-1, plant on 0-1, printer on 0-1, books on 0-1,
    bin beside 0-1, recycling bin beside 0-1
dresser: dresser wall: tv on 0-1, lamp on 0-1, mirror above 0-1, box on 0-2, toy on 0-1,
    jar on 0-1, laundry basket beside 0-1, clothes on 0-1
closet: closet corner: clothes inside 0-3, shoe inside 0-2, suitcase inside 0-1, box inside 0-2,
    ironing board inside 0-1
wardrobe: wardrobe wall: row 0-1, suitcase beside 0-1, box on 0-1, shoe front 0-2
cabinet: cabinet wall: row 0-2, microwave on 0-1, books on 0-2, plant on 0-1, lamp on 0-1,
    clock above 0-1, picture above 0-1
laundry: washing machine wall: row 0-3, clothes dryer beside 0-2, detergent on 0-1,
    laundry basket front 0-1, laundry hamper beside 0-1, wall shelf above 0-1
copy: copier wall: printer beside 0-1, recycling bin beside 0-2, paper on 0-1,
    bin beside 0-1, paper cutter on 0-1, boxes beside 0-1
printing: table wall: printer on 1-2, paper on 0-2, paper cutter on 0-1, shredder under 0-1,
    recycling bin beside 0-1, bulletin board above 0-1
bins: bin wall: recycling bin beside 1-2, bin beside 0-1, sign above 0-1
piano: piano wall: piano bench front 0-1, music stand beside 0-1, guitar beside 0-1, lamp on 0-1,
    guitar case beside 0-1
board: whiteboard hung: projector screen flank 0-1, podium below 0-1
window: window hung: curtain flank 0-2, radiator below 0-1, blinds along 0-1, windowsill along 0-1
windows: window hung: row 1-4, radiator below 0-1, blinds along 0-1
window seat: window hung: curtain flank 0-2, plant below 0-1
door: door hung: doorframe along 0-1, light switch flank 0-1, bin below 0-1,
    exit sign above 0-1
mirror: mirror hung: bench below 0-1
gallery: picture hung: row 1-3
pipes: radiator wall: row 0-1, box on 0-1
chairs: chair wall: row 1-4, backpack on 0-1, picture above 0-1
armchairs: armchair wall: row 0-2, end table beside 0-1, lamp on@end table 0-1, pillow on 0-1,
    floor lamp beside 0-1
armchair: armchair floor: ottoman front 0-1, pillow on 0-1, floor lamp beside 0-1
reading: chair floor: end table beside 0-1, lamp on@end table 0-1
stacks: stack of chairs wall: row 0-3
boxes: box floor: box beside 0-2, box on 0-2, bag beside 0-1, boxes beside 0-1
clutter: backpack wall: shoe beside 0-2, jacket above 0-2, bag beside 0-1, umbrella beside 0-1
coats: coat rack corner: jacket on 0-3, shoe beside 0-2, purse on 0-1
cleaning: bucket wall: mop beside 0-1, broom beside 0-1, vacuum cleaner beside 0-1,
    dustpan beside 0-1
work: workbench wall: tool box on 0-1, box on 0-2, stool front 0-1, ladder beside 0-1,
    wall shelf above 0-1, bottle on 0-2
gym: treadmill floor: row 0-2
weights: rack wall: dumbbell on 0-4, ball beside 0-2
game: foosball table middle: bar stool around 0-2
reception: reception desk middle: office chair behind 1-2, monitor on 1-2, telephone on 0-1,
    armchair front 0-1
locker: locker wall: row 1-4, bench front 0-1
"""

_ROOM_TYPES = """
bedroom 3: 3.0-5.2; door 1-2, bed 1-1, window 0-2, dresser 0-2, desk 0-1, wardrobe 0-1,
    closet 0-1, books 0-2, armchair 0-1, clutter 0-1, laundry hamper 0-1, bin 0-1,
    mirror 0-1, fan 0-1, gallery 0-1, boxes 0-1, clothes 0-3, shoe 0-2, backpack 0-2,
    suitcase 0-1, guitar 0-1, laptop desk 0-1, rug 0-1, standing mirror 0-1, tv 0-1
hotel 2: 3.6-6.0; door 1-2, hotel bed 1-1, window seat 0-1, dresser 0-1, laptop desk 0-1,
    armchair 0-1, mini fridge 0-1, wall mounted tv 0-1, suitcase 0-2, floor lamp 0-1, mirror 0-1,
    ironing board 0-1, couch 0-1, closet 0-1
living 3: 3.8-7.0; door 1-2, couch 1-1, couches 0-1, loveseat 0-1, tv 0-1, window seat 1-2,
    books 0-1, armchair 0-2, armchairs 0-1, floor lamp 0-2, plant 0-3, dining 0-1, desk 0-1,
    gallery 0-1, piano 0-1, bicycle 0-1, fireplace 0-1, lounge 0-1, toy 0-3, ottoman 0-2,
    cabinet 0-1, coats 0-1, kitchen 0-1, basket 0-1, fan 0-1
kitchen 2: 2.6-5.0; door 1-2, kitchen 1-2, stove 0-1, fridge 1-1, window 0-1, dining 0-1,
    island 0-1, bin 0-2, dishwasher 0-1, recycling bin 0-1, water cooler 0-1, broom 0-1,
    clock 0-1, calendar 0-1, dining wall 0-1, bar 0-1, wine rack 0-1, bag 0-1, fire extinguisher 0-1
bathroom 3: 1.9-3.6; door 1-1, toilet 1-1, vanity 1-1, bath 0-1, shower 0-1, towel 0-3,
    towel rack 0-2, laundry hamper 0-1, bathroom scale 0-1, bin 0-1, bathroom cabinet 0-1,
    window 0-1, mirror 0-1, radiator 0-1, paper towel dispenser 0-1, toilet paper 0-1,
    plunger 0-1, wall shelf 0-1
washroom 1: 3.0-6.5; door 1-2, stalls 1-1, washing 1-1, urinal 0-3, hand dryer 0-2,
    paper towel dispenser 0-2, bin 0-2, mirror 0-1, soap dispenser 0-2, grab bar 0-2,
    toilet paper dispenser 0-1
office 4: 3.0-6.5; door 1-2, desk 1-2, desks 0-2, desk island 0-1, books 0-2, files 0-2,
    window 0-2, windows 0-1, board 0-2, round 0-1, armchairs 0-1, chairs 0-1, bin 0-2,
    recycling bin 0-1, printing 0-1, coats 0-1, mini fridge 0-1, backpack 0-2, bicycle 0-1,
    plant 0-1, boxes 0-1, shelf 0-1, couch 0-1, clock 0-1, fan 0-1, picture 0-2,
    storage cabinet 0-1, whiteboard 0-1, dumbbell 0-1
cubicles 1: 5.0-9.0; door 1-1, desks 2-4, desk island 0-3, divider 0-4, files 0-2, windows 0-1,
    copy 0-1, bin 1-3, plant 0-2, column 0-2, board 0-1
meeting 2: 4.0-8.0; door 1-2, meeting 1-1, board 1-2, windows 0-1, wall mounted tv 0-1,
    cabinet 0-1, chairs 0-1, bin 0-2, recycling bin 0-1, projector screen 0-1,
    telephone 0-1, coats 0-1, clock 0-1, blackboard 0-1, plant 0-1
class 2: 5.0-9.5; door 1-2, class 1-1, board 1-2, blackboard 0-1, desk island 0-1, windows 0-2,
    stacks 0-1, chairs 0-1, podium 0-1, bin 0-2, clock 0-1, projector 0-1,
    bulletin board 0-2, backpack 0-2, cabinet 0-1, column 0-2, cleaning cart 0-1
tables 2: 4.5-9.0; door 1-2, tables 1-1, windows 0-1, board 0-2, couch 0-1, armchairs 0-1,
    bin 0-2, recycling bin 0-2, books 0-1, vending machine 0-2, lounge 0-1, kitchen 0-1,
    column 0-1, water cooler 0-1, clock 0-1
lobby 2: 4.0-9.0; door 1-3, couches 0-2, lounge 0-2, armchairs 0-2, couch 0-1, round 0-1,
    plant 0-3, reception 0-1, board 0-1, windows 0-1, bins 0-1, vending machine 0-1, mailbox 0-1,
    column 0-2, gallery 0-1, stairs 0-1, game 0-1, piano 0-1, chairs 0-2, fireplace 0-1
library 1: 4.5-8.5; door 1-1, books 1-2, racks 0-1, tables 0-1, desk 0-1, armchairs 0-1,
    cleaning cart 0-1, laptop desk 0-1, step stool 0-1, copy 0-1
laundry 1: 2.2-4.5; door 1-1, laundry 1-2, shelf 0-1, ironing board 0-1, laundry basket 0-2,
    cleaning 0-1, bin 0-1, counter 0-1, boiler 0-1, cabinet 0-1, bench 0-1, clothes 0-2
storage 2: 2.4-6.0; door 1-2, shelf 1-2, boxes 0-3, work 0-1, cleaning 0-1, bicycle 0-2,
    storage bin 0-3, ladder 0-1, rack 0-2, suitcase 0-2, cabinet 0-2, car 0-1, gym 0-1,
    weights 0-1, tool box 0-1, mini fridge 0-1, boiler 0-1, stacks 0-1, table 0-1, pipe 0-2
copy 1: 2.6-5.0; door 1-1, copy 1-1, mailbox 0-2, printing 0-1, bins 0-1, shelf 0-1, kitchen 0-1,
    cabinet 0-1, bulletin board 0-2, recycling bin 0-2, files 0-1
studio 2: 4.5-7.5; door 1-2, bed 1-1, desk 0-1, kitchen 0-1, fridge 0-1, couch 0-1, dining 0-1,
    tv 0-1, wardrobe 0-1, window 1-2, books 0-1, dresser 0-1, clutter 0-1, bin 0-2,
    stove 0-1, backpack 0-1, bicycle 0-1, coats 0-1, shoe 0-3, box 0-2, fan 0-1
dorm 1: 3.0-5.0; door 1-1, bunk 0-1, bed 0-2, desk 1-2, wardrobe 0-2, dresser 0-2,
    mini fridge 0-1, window 0-1, laundry basket 0-2, bin 0-2, fan 0-1, backpack 0-2,
    shoe 0-2, poster 0-3, books 0-1
nursery 1: 3.0-4.5; door 1-1, crib 1-1, dresser 0-1, rocking chair 0-1, toy 1-5, basket 0-2,
    books 0-1, rug 0-1, window 0-1, storage bin 0-3, toy car 0-2, ball 0-2, stroller 0-1
gym 1: 4.0-8.0; door 1-1, gym 0-2, weights 0-1, exercise bike 0-2, mirror 0-2, bench 0-2,
    ball 0-3, fan 0-1, locker 0-1, water cooler 0-1, yoga mat 0-3, dumbbell 0-3,
    wall mounted tv 0-1, towel 0-1
"""


@dataclass(frozen=True)
class Member:
    """An entry of a group: object kind, relation to its host (None: the head), range of counts."""

    kind: str
    relation: str
    host: str | None
    least: int
    most: int


@dataclass(frozen=True)
class Group:
    """A head, its placement, and its members in the order in which they are placed."""

    head: str
    placement: str
    members: tuple[Member, ...]


def _counted(text: str) -> tuple[str, int, int]:
    """ "chair around 2-8" -> ("chair around", 2, 8)."""
    name, _, count = text.strip().rpartition(" ")
    least, most = map(int, count.split("-"))
    return name, least, most


def _member(text: str) -> Member:
    text, least, most = _counted(text)
    text, _, host = text.partition("@")
    kind, _, relation = text.rpartition(" ")
    return Member(kind, relation, host or None, least, most)


@cache
def groups() -> dict[str, Group]:
    """All groups by name; an object kind without a group is one of its own."""
    found = {}
    for line in table_rows(_GROUPS):
        name, head, members = (part.strip() for part in line.split(":"))
        kind, _, placement = head.rpartition(" ")
        found[name] = Group(kind, placement, tuple(map(_member, members.split(","))))
    for object_kind in OBJECT_KINDS.values():
        placement = "hung" if object_kind.placement == "part" else object_kind.placement
        found.setdefault(object_kind.key, Group(object_kind.key, placement, ()))
    return found


@dataclass(frozen=True)
class RoomType:
    """A type of room: how often it is drawn, range of its sides in metres, (group, least, most)."""

    name: str
    weight: int
    low: float
    high: float
    groups: tuple[tuple[str, int, int], ...]


@cache
def room_types() -> tuple[RoomType, ...]:
    """All types of rooms."""
    found = []
    for line in table_rows(_ROOM_TYPES):
        head, rest = line.split(":")
        name, weight = head.split()
        size, listed = rest.split(";")
        low, high = map(float, size.split("-"))
        found.append(
            RoomType(name, int(weight), low, high, tuple(map(_counted, listed.split(","))))
        )
    return tuple(found)
