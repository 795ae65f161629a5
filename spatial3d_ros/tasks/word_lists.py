"""Reviewed words of questions: synonyms of classes, words for several classes, what things are for,
and words that are no objects. Those of WordNet are in `resource/nouns.yaml`.
"""

from __future__ import annotations

from spatial3d_ros.categories import COLORS

ANYTHING = (
    "thing", "object", "item", "one", "something", "anything", "everything", "stuff", "piece",
)  # fmt: skip
SELF = ("me", "you", "us", "we", "i", "here", "myself", "yourself", "robot", "camera")
SYNONYMS: dict[str, str] = {
    "sofa": "couch settee loveseat divan futon",
    "tv": "television telly tv_set tv_screen monitor screen display",
    "bin": "trash_can rubbish_bin wastebasket waste_bin dustbin garbage_can trash_bin trash "
    "waste_basket trashcan wastepaper_basket garbage_bin recycling_bin",
    "fridge": "refrigerator icebox freezer",
    "backpack": "rucksack knapsack school_bag schoolbag bag daypack",
    "picture": "painting poster photo photograph artwork framed_picture frame picture_frame",
    "nightstand": "bedside_table night_table night_stand bedside_cabinet",
    "cabinet": "cupboard sideboard dresser wardrobe closet chest_of_drawers locker file_cabinet "
    "filing_cabinet",
    "plant": "potted_plant houseplant pot_plant flower tree",
    "pillow": "cushion",
    "shelf": "bookshelf bookcase shelving_unit rack shelving shelves bookrack",
    "armchair": "easy_chair lounge_chair recliner",
    "mug": "cup coffee_mug teacup coffee_cup beaker",
    "bottle": "flask water_bottle",
    "lamp": "light floor_lamp standing_lamp floor_light desk_lamp table_lamp",
    "laptop": "notebook_computer notebook computer",
    "sink": "washbasin basin wash_basin kitchen_sink",
    "table": "dining_table coffee_table side_table",
    "desk": "writing_desk work_desk workbench writing_table",
    "box": "carton cardboard_box package parcel crate",
    "ball": "football basketball sphere",
    "book": "novel textbook paperback",
    "bowl": "dish",
    "stool": "barstool bar_stool footstool",
    "bed": "bedstead",
    "door": "doorway",
    "window": "windowpane window_pane",
    "chair": "seat dining_chair office_chair",
    "stove": "oven cooker hob range cooktop",
    "glass": "tumbler drinking_glass wine_glass",
    "telephone": "phone mobile mobile_phone cell_phone cellphone smartphone",
    "computer tower": "pc desktop_computer computer_case",
    "blanket": "duvet quilt comforter bedspread",
    "bathtub": "bath tub",
    "toilet": "loo commode wc lavatory",
    "shoe": "boot trainer sneaker slipper sandal",
    "air conditioner": "ac aircon",
    "can": "tin",
    "tissue box": "tissue kleenex",
    "toilet paper": "toilet_roll loo_roll",
    "ottoman": "pouf pouffe hassock footrest",
    "bunk bed": "bunk",
    "crib": "cot baby_bed cradle",
    "fruit": "apple banana pear lemon",
    "paper": "newspaper document",
    "stroller": "pushchair pram buggy baby_carriage",
    "fire extinguisher": "extinguisher",
    "flip chart": "flipchart",
    "game console": "console playstation xbox",
    "stuffed animal": "teddy teddy_bear soft_toy cuddly_toy",
    "washing machine": "washer",
    "clothes dryer": "dryer tumble_dryer",
    "bulletin board": "notice_board noticeboard pinboard cork_board",
    "suitcase": "luggage trolley_case",
    "laundry hamper": "laundry_basket hamper",
    "bathroom sink": "washbasin",
    "space heater": "heater",
    "podium": "lectern",
    "standing mirror": "full_length_mirror",
}  # fmt: skip
"""Reviewed words of each class, with "_" for a space."""
_SEATS = (
    "chair armchair sofa stool bench office_chair recliner folding_chair rocking_chair high_chair "
    "beanbag_chair bar_stool loveseat ottoman"
)
_CASES = (
    "shelf cabinet nightstand bookshelf dresser drawer_unit file_cabinet wardrobe closet locker "
    "storage_cabinet kitchen_cabinet wall_cabinet wall_shelf shoe_rack display_case tv_stand"
)
_SURFACES = (
    "table desk nightstand coffee_table end_table console_table folding_table workbench dresser "
    "tv_stand"
)
_KITCHEN = (
    "fridge stove dishwasher microwave toaster mini_fridge toaster_oven coffee_maker kettle blender"
)
_ELECTRONIC = (
    "tv laptop monitor radio camera speaker printer copier game_console computer_tower telephone "
    "keyboard"
)
HYPERNYMS: dict[str, str] = {
    "furniture": f"{_SEATS} {_CASES} {_SURFACES} bed bunk_bed crib coat_rack",
    "seat": _SEATS,
    "seating": _SEATS,
    "surface": _SURFACES,
    "container": "box bin bowl mug bottle vase backpack jar can pot bucket basket crate suitcase "
    "storage_bin tool_box recycling_bin laundry_hamper",
    "vessel": "bowl mug bottle vase glass jar pot",
    "appliance": f"{_KITCHEN} washing_machine clothes_dryer vacuum_cleaner air_conditioner",
    "kitchen_appliance": _KITCHEN,
    "electrical_appliance": f"{_KITCHEN} washing_machine clothes_dryer vacuum_cleaner fan",
    "machine": "washing_machine clothes_dryer coffee_maker vending_machine printer copier",
    "electronics": _ELECTRONIC,
    "device": _ELECTRONIC,
    "light_source": "lamp floor_lamp window candle",
    "lighting": "lamp floor_lamp",
    "instrument": "piano guitar drum",
    "musical_instrument": "piano guitar drum",
    "crockery": "mug bowl plate glass",
    "dishes": "mug bowl plate glass",
    "storage": f"{_CASES} box storage_bin",
    "drinking_vessel": "mug bottle glass",
    "bag": "backpack purse duffel_bag suitcase",
    "luggage": "suitcase backpack duffel_bag",
    "toy": "ball soccer_ball stuffed_animal toy_car",
    "decoration": "vase statue picture poster trophy flowers plant candle",
    "clothing": "jacket hat shoe",
    "clothes": "jacket hat shoe",
    "vehicle": "bicycle skateboard stroller",
    "exercise_equipment": "treadmill dumbbell",
    "bedding": "pillow blanket mattress",
    "animal": "dog",
}  # fmt: skip
"""Words for several classes; one that is a class itself stands for the others where the map has
none of it.
"""
OF_A_ROOM = ("wall", "floor", "ceiling", "corner", "room", "ground", "place", "space")
"""Nouns of what is no object of a map."""
PURPOSES: dict[str, str] = {
    "sit": "seat", "sleep": "bed", "lie": "bed", "nap": "bed", "read": "book", "write": "desk",
    "study": "desk", "eat": "table", "dine": "table", "drink": "drinking vessel", "watch": "tv",
    "wash": "sink", "rinse": "sink", "chill": "fridge", "store": "storage", "throw": "bin",
    "discard": "bin", "carry": "backpack", "kick": "ball", "bounce": "ball", "cook": "stove",
    "hang": "coat rack", "put": "surface", "place": "surface", "work": "desk", "ride": "bicycle",
    "climb": "ladder", "iron": "ironing board", "print": "printer", "light": "lamp",
    "dry": "clothes dryer", "heat": "stove", "wash clothes": "washing machine",
    "wash laundry": "washing machine", "wash shirts": "washing machine",
}  # fmt: skip
"""What an object is for: "something to sit on" is a seat."""
PLURAL_PRONOUNS = ("they", "them", "those", "these")
PRONOUNS = ("it", "that", "this", *PLURAL_PRONOUNS)
MODIFIER_WORDS = (
    *COLORS, "grey", "small", "little", "large", "tall", "short", "long", "wide", "narrow", "round",
    "square", "wooden", "metal", "plastic", "leather", "striped", "checked", "dotted", "bright",
)  # fmt: skip
