"""Objects of homes, offices and schools: nouns, sizes, placements, colors.

A row reads `nouns | broader nouns | width depth height in cm | placement | colors`. The first noun
is the key of the kind; an indented line continues the one before. Sizes are typical; each object is
drawn up to a third smaller or a half larger. Placements:

    floor   anywhere on the floor       wall    on the floor with its back to a wall
    top     on or in other objects      hung    on a wall, at a height in cm (`hung 120`)
    roof    under the ceiling           part    of the building: floor, walls

`>` marks an object with a front.
"""

from __future__ import annotations

from dataclasses import dataclass

_TABLE = """
chair | seat | 48 50 88 | floor > | brown black blue gray white green red tan
office chair, desk chair, swivel chair, computer chair, rolling chair | chair, seat | 62 62 98 |
    floor > | black gray blue red
armchair, arm chair, sofa chair, lounge chair, easy chair | chair, seat | 82 80 85 | floor > |
    brown gray tan red blue black orange green
folding chair | chair, seat | 46 48 80 | floor > | gray black white
stack of chairs, stacked chairs | chairs, chair | 55 60 120 | wall | black gray blue
recliner, reclining chair | chair, armchair | 85 90 100 | floor > | brown black tan
rocking chair | chair | 60 80 100 | floor > | brown white
high chair | chair | 50 50 100 | floor > | white brown
beanbag chair, bean bag, beanbag | chair | 85 85 60 | floor | red blue purple brown
stool | seat | 38 38 55 | floor | brown black white silver
bar stool, barstool | stool, seat | 40 40 85 | floor > | brown black silver white
bench | seat | 140 42 46 | wall > | brown black gray
piano bench | bench, stool | 80 38 50 | floor | black brown
sofa, couch, settee | seat | 195 90 82 | wall > | gray brown tan black blue red green
loveseat, love seat | couch, sofa | 145 88 82 | wall > | gray brown tan blue
futon | couch, sofa, bed | 190 95 75 | wall > | gray black red
ottoman, footstool, footrest | stool | 60 50 42 | floor | brown gray tan red
bed | | 160 205 85 | wall > | white blue gray brown tan red
bunk bed, loft bed | bed | 105 205 175 | wall > | brown gray white
crib, baby bed | bed | 75 135 95 | wall > | white brown
mattress | bed | 140 200 28 | wall | white gray
table | | 140 82 74 | floor | brown white gray black tan
dining table, kitchen table, dinner table | table | 165 92 76 | floor | brown black white
coffee table, low table | table | 110 60 43 | floor | brown black white gray
end table, side table | table | 52 50 55 | wall > | brown black white tan
conference table, meeting table, long table | table | 290 120 75 | floor | brown gray black tan
round table | table | 110 110 75 | floor | brown white tan
folding table | table | 150 72 73 | wall | white gray brown
foosball table, table football | table, game | 140 75 90 | floor | brown black
pool table, billiard table | table, game | 260 145 82 | floor | green brown
ping pong table, table tennis table | table | 270 150 76 | floor | blue green
console table, sofa table | table | 120 38 78 | wall | brown black
desk, writing desk, study desk | table | 140 72 75 | wall > | brown white black gray tan
computer desk, work desk, workstation | desk, table | 150 75 76 | wall > | brown black gray
podium, lectern | stand | 60 55 115 | floor > | brown black
nightstand, night stand, bedside table, night table | table, end table | 50 42 58 | wall > |
    brown white black tan
dresser, chest of drawers, drawers, bureau | cabinet | 110 50 90 | wall > | brown white black tan
drawer unit | drawers, cabinet | 38 40 42 | floor > | white black gray brown
wardrobe, wardrobe closet, armoire, wardrobe cabinet | closet, cabinet | 115 60 195 | wall > |
    brown white tan
closet | | 130 65 205 | wall > | white brown
cabinet, cupboard | | 90 48 110 | wall > | brown white gray tan
file cabinet, filing cabinet | cabinet | 46 62 105 | wall > | gray black tan silver
storage cabinet, metal cabinet | cabinet | 90 48 175 | wall > | gray white brown
kitchen cabinet, kitchen cabinets, base cabinet, lower cabinet | cabinet, cabinets, cupboard |
    85 60 88 | wall > | brown white tan
wall cabinet, upper cabinet, overhead cabinet | cabinet, kitchen cabinet, cupboard | 80 34 72 |
    hung 145 > | brown white tan
medicine cabinet | cabinet | 55 16 65 | hung 130 > | white silver
bathroom vanity, vanity, sink cabinet | cabinet | 95 54 84 | wall > | white brown tan
bathroom cabinet | cabinet | 50 35 110 | wall > | white brown
tv stand, tv cabinet, media console, entertainment center | stand, cabinet | 145 45 55 | wall > |
    black brown white
display case, display cabinet, glass cabinet | cabinet, case | 95 45 180 | wall > | brown silver
bookshelf, bookcase, book shelf, book case | shelf, shelves | 90 32 180 | wall > |
    brown white black tan
shelf, shelves, shelving unit | | 90 36 150 | wall > | brown white black gray
wall shelf, floating shelf | shelf | 80 24 12 | hung 135 | brown white
rack, storage rack, metal rack | shelf | 100 45 175 | wall | silver black gray
shoe rack | rack, shelf | 75 30 55 | wall | brown black
coat rack, clothes rack, coat stand | rack, stand | 55 55 175 | wall > | brown black silver
towel rack, towel bar, towel rod | rack | 60 10 8 | hung 125 | silver white
wine rack | rack | 45 30 80 | wall | brown black
dish rack, dish drainer, drying rack | rack | 42 34 22 | top | silver white black
counter, countertop | table | 170 62 92 | wall > | white brown gray black
kitchen counter, kitchen countertop | counter | 200 62 92 | wall > | gray brown white black
kitchen island, island | counter, table | 160 85 92 | floor | white brown gray
bar, bar counter | counter | 180 60 108 | floor > | brown black
reception desk, front desk | desk, counter | 220 80 110 | floor > | brown white
mailbox, mailboxes, mail slots | shelf, cabinet | 120 40 150 | wall > | gray brown
locker, lockers | cabinet | 45 48 185 | wall > | gray blue red
safe | cabinet | 48 45 55 | wall > | gray black
fireplace | | 140 45 115 | wall > | brown white gray red
radiator, heater | | 110 14 62 | wall > | white gray
space heater | heater | 38 20 55 | floor | black white
air conditioner, ac unit | | 85 24 30 | hung 200 | white
fan, standing fan | | 42 42 115 | floor | white black gray
ceiling fan | fan | 120 120 40 | roof | white brown
air purifier, humidifier | machine | 32 26 55 | floor | white black
fridge, refrigerator | appliance | 80 72 172 | wall > | white silver black
mini fridge, small fridge, mini refrigerator | refrigerator, fridge | 50 52 84 | wall > |
    black white silver
stove, range | appliance | 72 64 92 | wall > | white black silver
oven | stove, appliance | 60 58 80 | wall > | black silver white
range hood, hood, vent hood | | 75 48 40 | hung 160 | silver white black
dishwasher | appliance | 60 60 85 | wall > | white silver black
microwave, microwave oven | oven, appliance | 50 38 30 | top > | black white silver
toaster | appliance | 28 20 20 | top | silver black white
toaster oven | oven, toaster | 44 34 26 | top > | black silver
coffee maker, coffee machine | machine | 26 28 36 | top | black silver
kettle, tea kettle | pot | 22 18 24 | top | silver black white
blender, mixer | appliance | 20 20 38 | top | white black red
washing machine, washer | machine, appliance | 66 66 92 | wall > | white gray
clothes dryer, dryer | machine, appliance | 66 66 94 | wall > | white gray
water cooler, water dispenser | dispenser | 34 34 105 | wall | white blue gray
vending machine | machine | 95 85 185 | wall > | black red blue
copier, copy machine, photocopier | machine, printer | 85 70 115 | wall > | white gray tan
printer | machine | 48 44 34 | top > | white black gray
shredder, paper shredder | machine | 38 26 52 | floor | black gray
sink | | 50 46 24 | top | white silver
bathroom sink, wash basin, washbasin | sink | 54 46 28 | top | white
kitchen sink | sink | 70 50 24 | top | silver white
toilet | seat | 42 68 76 | wall > | white
toilet paper, toilet paper roll, toilet roll | paper, roll | 13 12 13 | hung 65 | white
toilet paper dispenser | dispenser | 30 15 30 | hung 65 | silver white
urinal | toilet | 40 36 70 | hung 50 > | white
bathtub, tub, bath tub | bath | 155 76 55 | wall > | white
shower, shower stall, shower cabin | | 95 95 205 | wall > | white silver gray
shower curtain | curtain | 150 14 185 | hung 15 | white blue tan green
shower curtain rod, curtain rod | rod | 160 5 6 | hung 205 | silver white
shower head, showerhead | | 18 24 18 | hung 185 | silver
bath mat, bathroom mat, shower mat | mat, rug | 78 52 3 | floor | blue white gray green
bathroom stall, toilet stall | stall | 105 150 190 | wall | tan gray white
bathroom stall door, stall door | door | 75 5 165 | wall | tan gray
grab bar, handicap bar, handrail | bar, rail | 85 8 8 | hung 85 | silver white
hand dryer | dryer | 30 20 32 | hung 110 | silver white
soap dispenser | dispenser | 12 11 24 | hung 110 | white black silver
soap, bar of soap | | 9 6 4 | top | white
soap dish | dish | 14 10 5 | top | white
paper towel dispenser, towel dispenser | dispenser | 32 22 42 | hung 115 | white silver black
paper towel roll, paper towels, roll of paper towels | paper, roll | 14 14 27 | top | white
towel, hand towel, bath towel | cloth | 45 12 65 | hung 80 | white blue tan green gray pink red
plunger | | 15 15 52 | floor | red black
toilet brush | brush | 13 13 40 | floor | white
bathroom scale, scale | | 31 31 6 | floor | white black
laundry hamper, hamper | basket, bin | 46 40 62 | floor | white tan brown blue
laundry basket, clothes basket | basket | 58 42 38 | floor | white blue gray
ironing board | board | 125 36 88 | floor | blue white
iron | | 28 13 15 | top | white blue
tv, television, flat screen | screen | 110 14 66 | top > | black gray
wall mounted tv, mounted television | tv, television, screen | 115 10 68 | hung 120 > | black
monitor, computer monitor, screen, computer screen | | 54 20 42 | top > | black gray silver
projector | | 34 28 14 | roof | white black
projector screen, projection screen | screen | 220 10 160 | hung 90 > | white
computer tower, pc tower, computer, desktop computer | machine | 22 46 44 | floor |
    black gray silver
laptop, laptop computer, notebook computer | computer | 35 28 22 | top > | black silver gray
keyboard, computer keyboard | | 44 16 4 | top | black white gray
piano keyboard | keyboard | 120 32 14 | top | black
mouse, computer mouse | | 8 12 5 | top | black gray
mouse pad | pad | 24 20 2 | top | black blue
speaker, loudspeaker | | 22 24 38 | top > | black brown
headphones, headset | | 18 16 9 | top | black
telephone, phone, desk phone | | 21 22 12 | top | black gray
router, modem | box | 22 15 6 | top | black white
power strip, extension cord | cord | 32 8 5 | floor | white black
game console, video game console | box | 30 24 8 | top | black white
dvd player, vcr | player, box | 42 28 8 | top | black silver
radio, boombox | | 34 17 19 | top | black silver
camera | | 14 11 11 | top | black
tripod | stand | 55 55 135 | floor | black
remote, remote control | | 6 18 3 | top | black
lamp, table lamp, desk lamp | light | 30 30 52 | top | white tan black
floor lamp, standing lamp | lamp, light | 40 40 160 | floor | white black tan silver
ceiling light, ceiling lamp, light fixture | light, lamp | 60 40 14 | roof | white
light switch, wall switch | switch | 9 3 13 | hung 115 | white
power outlet, electrical outlet | outlet | 8 3 12 | hung 35 | white
thermostat | | 12 4 12 | hung 140 | white
clock, wall clock | | 31 6 31 | hung 200 | white black brown
alarm clock | clock | 16 9 9 | top | black white
mirror | | 75 5 100 | hung 105 > | silver brown white gray
standing mirror, full length mirror | mirror | 52 22 160 | wall > | brown black silver
picture, painting, framed picture, picture frame | art, frame | 62 4 52 | hung 140 > |
    brown black blue tan white green
poster | picture | 62 3 88 | hung 120 > | blue red white black
photo, photograph | picture | 20 5 25 | top | black brown white
calendar | | 32 3 45 | hung 140 | white
map | poster | 120 3 85 | hung 120 | blue green tan
sign | | 42 3 30 | hung 160 > | white red green
exit sign | sign | 34 8 20 | hung 215 | red green
whiteboard, white board, dry erase board | board | 190 6 118 | hung 90 > | white
blackboard, chalkboard, chalk board | board | 230 8 120 | hung 90 > | black green
bulletin board, notice board, cork board | board | 125 5 95 | hung 110 > | brown tan
flip chart, easel | stand, board | 72 55 170 | floor > | white
door | | 92 9 206 | part > | brown white gray tan blue
closet door, closet doors, sliding door | door | 120 9 204 | part > | white brown
glass door, patio door | door | 140 10 206 | part > | silver gray white
doorframe, door frame | frame | 104 14 212 | part | white brown
window | | 130 12 125 | part > | white gray blue silver
windowsill, window sill, ledge | sill | 130 22 8 | hung 85 | white
curtain, curtains, drapes | | 75 14 200 | hung 12 > | white tan gray blue red green brown
blinds, window blinds, shade | | 125 9 125 | hung 90 | white gray tan
vent, air vent | | 42 6 26 | hung 215 | white
pipe, pipes | | 12 12 200 | wall | gray white
column, pillar, post | | 46 46 255 | floor | white gray
stairs, staircase, steps | | 110 200 140 | wall | brown gray
stair rail, railing, banister | rail | 150 8 95 | wall | brown black
ladder | | 48 30 180 | wall | silver brown
step stool, stepladder | stool, ladder | 42 45 50 | floor | white silver brown
elevator | door | 150 20 215 | part > | silver gray
divider, partition, room divider, cubicle wall | wall | 155 8 145 | floor | gray blue tan
fire extinguisher | | 18 16 52 | hung 60 | red
fire alarm, smoke detector | alarm | 14 7 14 | hung 215 | red white
bin, trash can, garbage can, waste basket, wastebasket, trash bin, garbage bin | can | 34 30 46 |
    floor | black gray white blue silver
recycling bin, recycle bin | bin, trash can | 36 32 52 | floor | blue green
bucket, pail | | 29 29 31 | floor | white red blue gray
mop | | 22 22 130 | wall | white blue
broom | | 30 12 130 | wall | yellow green red
dustpan | | 28 30 12 | floor | red blue gray
vacuum cleaner, vacuum, hoover | machine | 34 36 105 | floor | red black blue
cleaning cart, cart, trolley | | 62 46 95 | floor | gray black blue yellow
box, cardboard box | container | 44 36 32 | floor | brown tan white
boxes, stack of boxes | box | 60 46 70 | floor | brown tan
storage bin, storage container, plastic bin, tub | bin, container, box | 56 40 34 | floor |
    blue white gray
crate, milk crate | box | 36 33 28 | floor | blue red green black
basket | container | 38 32 28 | floor | brown tan white
container | | 26 22 22 | top | white blue
jar | container | 12 12 18 | top | silver white
tissue box, box of tissues, tissues | box | 24 13 12 | top | white blue pink
bag | | 40 25 36 | floor | black white red blue brown
paper bag | bag | 30 18 38 | floor | brown white
plastic bag, garbage bag, trash bag | bag | 38 32 36 | floor | white black
purse, handbag | bag | 34 17 28 | floor | black brown red pink
backpack, book bag, rucksack | bag | 36 28 46 | floor | black blue gray red green
duffel bag, gym bag | bag | 60 30 32 | floor | black blue gray
suitcase, luggage | bag, case | 45 28 66 | floor | black blue red purple
briefcase | case, bag | 42 13 32 | floor | black brown
guitar case, instrument case | case | 42 22 110 | wall | black
guitar | instrument | 38 18 105 | wall | brown black red
piano, keyboard piano | instrument | 148 60 120 | wall > | black brown
music stand | stand | 50 40 120 | floor | black
drum, drum set | instrument | 90 80 90 | floor | red black silver
shoe, pair of shoes, shoes, sneakers | footwear | 28 30 13 | floor | black white brown blue
boots | shoes | 30 30 32 | floor | brown black
slippers | shoes | 24 27 9 | floor | blue pink
jacket, coat | clothes | 48 20 72 | hung 90 | black blue gray brown green
hoodie, sweater, sweatshirt | clothes, shirt | 45 26 55 | hung 95 | gray blue red
shirt, t shirt | clothes | 45 26 18 | floor | white blue red
hat, cap | | 27 24 15 | top | black blue red
clothes, clothing, pile of clothes | laundry | 58 50 24 | floor | blue gray white red
umbrella | | 14 14 85 | wall | black blue
scarf | cloth | 34 26 14 | top | red gray
blanket, throw blanket, throw | cloth | 90 70 22 | top | blue white gray red tan
comforter, duvet, bedspread, quilt | blanket | 150 160 30 | top | white blue gray
pillow, cushion | | 50 38 18 | top | white blue gray red tan green
throw pillow, decorative pillow | pillow, cushion | 42 26 36 | top | red blue yellow gray
stuffed animal, teddy bear, plush toy | toy, doll | 32 28 36 | top | brown white pink
doll | toy | 20 14 36 | top | pink
toy | | 26 22 20 | floor | red yellow blue green
toy car, toy truck | toy | 28 16 14 | floor | red yellow
ball, exercise ball, yoga ball | | 52 52 52 | floor | blue red gray green
soccer ball, basketball, football | ball | 23 23 23 | floor | orange white brown
dumbbell, dumbbells, weights | weight | 30 15 14 | floor | black gray
treadmill, exercise machine | machine | 78 165 130 | floor > | black gray
exercise bike, stationary bike | bike, machine | 60 110 125 | floor > | black gray
bicycle, bike | | 60 165 100 | wall | black red blue silver
skateboard | board | 20 76 13 | floor | black red
stroller | cart | 55 95 100 | floor | black blue
yoga mat | mat | 62 15 15 | floor | purple blue green
rug, carpet, area rug | mat | 210 150 2 | floor | red tan blue gray brown
mat, floor mat, doormat | rug | 85 55 3 | floor | black gray brown
person, man, woman | | 52 45 150 | floor > | black blue gray
dog bed, pet bed | bed | 75 60 20 | floor | brown gray
cat tree, scratching post | post | 52 50 125 | wall | tan
dog, puppy | pet, animal | 55 25 45 | floor | brown black
bird cage, cage | | 46 46 70 | floor | black white
fish tank, aquarium | tank | 80 36 48 | top | blue black
plant, potted plant, house plant, tree | | 52 52 95 | floor | green
flowers, flower vase, flower pot | plant | 26 26 36 | top | red yellow pink green
vase | | 18 18 31 | top | blue white red
candle | | 9 9 13 | top | white red
statue, sculpture, figurine | decoration | 22 20 40 | top | white brown black
globe | | 33 33 42 | top | blue
trophy | | 15 13 31 | top | yellow silver
decoration, ornament | | 24 16 26 | top | red yellow green silver
christmas tree | tree | 100 100 175 | floor | green
books, stack of books, pile of books | book | 36 25 24 | top | brown blue red white black green
book | | 18 24 5 | top | red blue brown black white
notebook, notepad | book | 19 25 3 | top | blue red black
magazine, magazines | book, paper | 24 29 4 | top | red blue
binder, folder, file | book | 27 31 8 | top | white black blue
paper, papers, stack of papers | | 25 31 5 | top | white
newspaper | paper | 32 38 4 | top | gray
envelope, mail | paper | 24 14 3 | top | white
file organizer, paper tray, letter tray | tray | 31 34 22 | top | black gray
pen holder, pencil cup | cup | 10 10 13 | top | black
stapler | | 5 16 7 | top | black red
tape dispenser | dispenser | 8 15 9 | top | black
paper cutter | cutter | 44 42 11 | top | gray green
calculator | | 10 16 4 | top | black
mug, cup, coffee cup | | 11 10 11 | top | white blue red black
glass, wine glass | cup | 8 8 14 | top | silver white
bottle, water bottle | | 9 9 25 | top | blue green white silver
bottles | bottle | 28 18 27 | top | green white
can, soda can | | 7 7 13 | top | red silver blue
bowl, fruit bowl | dish | 27 27 11 | top | white brown blue
plate, plates | dish | 25 25 4 | top | white blue
tray | | 42 30 5 | top | brown silver black
pot, cooking pot | pan | 30 25 18 | top | silver black
pan, frying pan | pot | 42 27 8 | top | black
cutting board | board | 40 28 3 | top | brown white
knife block | block | 17 13 24 | top | brown black
fruit, bananas, apples | food | 24 21 10 | top | yellow red green
bread, loaf of bread | food | 30 14 13 | top | brown
cereal box | box | 20 8 30 | top | yellow red
detergent, bottle of detergent, laundry detergent | bottle | 18 12 29 | floor | blue orange
spray bottle | bottle | 11 9 27 | top | blue white
shampoo bottle, shampoo | bottle | 9 7 21 | top | white blue
toothbrush, toothbrush holder | holder | 9 8 18 | top | white blue
hair dryer, hairdryer | dryer | 22 10 20 | top | black
toiletry, toiletries | | 24 15 17 | top | white blue
sewing machine | machine | 42 20 32 | top | white
tool box, toolbox | box | 48 24 25 | floor | red black
workbench, work bench | bench, table | 160 66 90 | wall | brown gray
car | vehicle | 185 420 150 | floor > | black white red
lawn mower | machine | 56 150 100 | floor | red green
boiler, water heater | machine, tank | 56 56 150 | wall | white gray
fuse box, electrical panel | box, panel | 42 14 62 | hung 120 | gray
wall | | 400 12 245 | part | white tan gray
floor | ground | 400 400 6 | part | brown gray tan
ceiling | | 400 400 6 | part | white
object, thing | | 36 30 34 | floor | gray brown white black blue
"""

COLORS: dict[str, tuple[int, int, int]] = {
    "white": (205, 200, 190), "black": (46, 44, 44), "gray": (125, 124, 122),
    "silver": (158, 160, 164), "brown": (106, 76, 52), "tan": (184, 160, 126),
    "red": (158, 46, 42), "blue": (58, 84, 148), "green": (66, 110, 66),
    "yellow": (206, 178, 66), "orange": (204, 112, 48), "purple": (98, 62, 118),
    "pink": (204, 140, 150),
}  # fmt: skip
"""Mean RGB (0 to 255) as in scans: duller than paint."""

SIMILAR_COLORS: dict[str, str] = {
    "white": "gray silver tan", "black": "gray brown", "gray": "white black silver tan blue",
    "silver": "gray white", "brown": "black tan orange red", "tan": "brown white yellow gray",
    "red": "brown orange pink", "blue": "purple black gray", "green": "black gray", "yellow":
    "tan orange", "orange": "red yellow brown", "purple": "blue pink black", "pink": "red purple",
}  # fmt: skip
"""The colors that an annotator might name instead."""
COLOR_TERMS = {"gray": ("gray", "grey"), "tan": ("tan", "beige", "cream colored", "light brown"),
                 "brown": ("brown", "wooden"), "silver": ("silver", "metal", "gray")}  # fmt: skip


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object: `nouns` mean it, `broader` ones may. size (3,) and, of hung ones, the
    height `z` of the bottom, in metres.
    """

    nouns: tuple[str, ...]
    broader: tuple[str, ...]
    size: tuple[float, float, float]
    placement: str
    z: float
    front: bool
    colors: tuple[str, ...]

    @property
    def key(self) -> str:
        """The noun by which the layout rules refer to it."""
        return self.nouns[0]


def table_rows(table: str) -> list[str]:
    """The rows of a table; an indented line continues the one before."""
    return table.strip().replace("\n    ", " ").splitlines()


def _row(line: str) -> ObjectKind:
    nouns, broader, size, placement, colors = (part.strip() for part in line.split("|"))
    where = placement.replace(">", " ").split()
    width, depth, height = (int(cm) / 100 for cm in size.split())
    return ObjectKind(
        tuple(noun.strip() for noun in nouns.split(",")),
        tuple(noun.strip() for noun in broader.split(",") if noun.strip()),
        (width, depth, height),
        where[0],
        int(where[1]) / 100 if len(where) > 1 else 0.0,
        ">" in placement,
        tuple(colors.split()),
    )


OBJECT_KINDS: dict[str, ObjectKind] = {kind.key: kind for kind in map(_row, table_rows(_TABLE))}
