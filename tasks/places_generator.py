"""Write the places data set: a fictional place's fields -> 3 to 5 descriptions, from a seeded grammar.

    python -m featherbench.tasks.places_generator [FOLDER]    # default: data/places beside this file

The same seed gives the same bytes on every Python from 3.11 on: only random(), choice, randrange, shuffle and sample
of random.Random are used, always on lists and tuples.

The tables come first (words, fields, categories), then the grammar, which reads them. A field says the same fact in
several syntactic shapes (see `Field`); a sentence plan puts shapes together; a description is one opening and up to
two further sentences that state every field once. Every word, name and sentence was invented for this file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

SEED = 2026
SIZES = {"train": (2000, 0), "validation": (200, 0), "test": (140, 140)}
"""Split -> (items of seen categories, items of unseen categories)"""
NUM_FIELDS = (1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5)
"""Fields of an item besides name and category; one is drawn evenly"""
NUM_REFERENCES = (3, 3, 4, 4, 5)
MAX_WORDS = 40
"""Of a reference"""
ATTEMPTS = 400
"""Sentence drafts per reference before the item is given up and drawn again"""

Values = Callable[[Random], str]
Phrases = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field and the ways to say it. In a phrase, {v} is the value, [one/many] agrees with it, a~ is a or an,
    {it} and {its} refer to the place. Each example continues "Harrow Quay ..."."""

    label: str
    values: Values
    verb: Phrases = ()
    """Finite verb phrase: (Harrow Quay) "dates from 1874" """
    was: Phrases = ()
    """Participle of a past event: (was) "built in 1874" """
    now: Phrases = ()
    """Participle or adjective of a present state: (is) "kept by Ada Lorne" """
    ing: Phrases = ()
    """Present participle: (a lighthouse) "guarding Marl Sound" """
    at: Phrases = ()
    """Where it is: (stands) "in the Saltgate district" """
    has: Phrases = ()
    """Noun phrase: (has, with) "a height of 41 metres" """
    before: Phrases = ()
    """In front of the noun: (a) "granite" (lighthouse)"""
    own: Phrases = ()
    """A clause with a subject of its own: "Ada Lorne keeps it" """


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of place: its nouns, how its names are formed, and the fields an item draws from."""

    noun: str
    short: Phrases
    """Nouns that may stand for it after the first mention"""
    stands: str
    """The verb of position"""
    names: Phrases
    fields: tuple[Field, ...]


# --- values -----------------------------------------------------------------------------------------------------


def one_of(*values: str) -> Values:
    """Draw one of the values."""
    return lambda rng: rng.choice(values)


def number(low: int, high: int, step: int = 1, unit: str = "") -> Values:
    """Draw a number of low, low + step, ..., high: "1,240" or "41 metres"."""
    return lambda rng: f"{rng.randrange(low, high + 1, step):,} {unit}".strip()


def year(low: int, high: int) -> Values:
    """Draw a year, low and high included."""
    return lambda rng: str(rng.randrange(low, high + 1))


def decimal(low: int, high: int, unit: str) -> Values:
    """Draw tenths from low to high: (12, 80, "kilometres") gives "1.2 kilometres" to "7.9 kilometres"; never whole."""

    def draw(rng: Random) -> str:
        whole, tenth = rng.randrange(low // 10, high // 10), rng.randrange(1, 10)
        return f"{whole}.{tenth} {unit}"

    return draw


def price(low: int, high: int, step: int) -> Values:
    """Draw pence from low to high: (250, 900, 50) gives "£2.50" to "£9"."""

    def draw(rng: Random) -> str:
        pounds, pence = divmod(rng.randrange(low, high + 1, step), 100)
        return f"£{pounds}.{pence:02}" if pence else f"£{pounds}"

    return draw


def hours(rng: Random) -> str:
    """Draw opening hours: "9 am to 5 pm"."""
    return f"{rng.randrange(7, 12)} am to {rng.randrange(4, 11)} pm"


FIRST = (
    "Ada Agnes Albin Alda Anouk Anselm Ásta Aurel Basil Beata Benno Bettina Björn Bruno Calla Caspar Cecily Chloë "
    "Clement Corin Dagmar Delia Dorian Edda Edmund Elif Élodie Elspeth Emeric Enid Esme Fabian Fenella Flora Gideon "
    "Greta Gwen Hanno Hedda Hugo Ida Imogen Ines Ivo Jasper Jonas Juno Jürgen Kit Lena Leopold Linus Lotte Lucan Mabel "
    "Maëlle Magnus Marit Maude Milo Mira Nadia Nell Nils Noor Olive Orla Oscar Otto Petra Phoebe Quentin Rafe Ravi "
    "Renée Romy Rosa Rufus Sabine Selma Silas Søren Sunniva Tamsin Tilda Tobias Una Ursula Vera Viggo Wanda Wilma "
    "Yusuf Yvette Zeno Zoë"
).split()
LAST = (
    "Abbring Ambler Arkle Bastow Bellwin Birkett Bluhm Brace Brandreth Calloway Castell Chantler Cobbold Corvane "
    "Crake Dainty Darrow Delacourt Dunmore Eastlake Elvin Fairbrass Farrant Fenn Ferreday Finch Fogarty Galt Garrick "
    "Gérard Gosling Grayle Hallam Harkin Hathersage Hollis Iqbal Ivory Jessop Kellaway Kestle Larkin Lindqvist Lorne "
    "Lovage Mallory Marchetti Marrow Mercer Milburn Müller Nash Nightingale Norrow Okafor Oakes Ormond Pascoe Peverell "
    "Pinder Quill Quist Rafferty Redfern Rowntree Sallow Sandoval Sefton Sharma Sorrell Stroud Tamm Tansley Thackray "
    "Thistlewood Tolland Trevanion Umber Vane Varga Vess Wainfleet Wren Yardley Yarwood Zeller"
).split()
TOWN_START = (
    "Ald Amber Ash Bar Bell Birch Bram Bren Cald Carn Clay Cor Crane Dal Dun Elder Fal Fen Fern Gar Glen Grim Hal Har "
    "Hazel Iver Kel Kest Lar Lin Lor Mal Marl Mer Mor Nar Nether Oak Or Pell Pen Quil Rav Ren Rook Sal Sedge Sel Stan "
    "Tal Thorn Tor Ul Ver Wal Wend Whin Wil Yar Yew"
).split()
TOWN_END = (
    "beck bourne brae combe crest dell fell garth gate haven holm hurst lode march mere moor ness reach ridge rill "
    "shaw stead stow thwaite wade water wick wold wyn"
).split()
BEASTS = (
    "Badger Crane Crow Curlew Dolphin Falcon Fox Gannet Goose Hare Heron Jackdaw Kingfisher Lark Lynx Magpie Marten "
    "Moth Nightjar Otter Owl Pike Plover Raven Seal Squirrel Stag Starling Stork Swallow Swan Swift Trout Wolf"
).split()
LOOKS = (
    "Amber Ancient Black Blue Brass Bright Bronze Copper Crimson Dancing Drowsy Gilded Golden Green Grey Hidden Hungry "
    "Idle Ivory Jolly Laughing Little Lost Lucky Merry Painted Quiet Red Scarlet Silver Singing Sleeping Velvet "
    "Wandering White Yellow"
).split()
THINGS = (
    "Acorn Anchor Apron Arrow Barrel Basket Bell Button Candle Compass Crown Drum Feather Fiddle Inkpot Kettle Key "
    "Ladder Lantern Lute Mitten Parasol Pepperpot Quill Ribbon Saucer Spoon Teapot Thimble Umbrella Wheel Whistle"
).split()
PLANTS = (
    "Alder Aspen Bramble Briar Cedar Clover Elm Foxglove Gorse Hawthorn Hazel Heather Holly Ivy Juniper Larch Lavender "
    "Lilac Linden Maple Myrtle Oak Poplar Rowan Sorrel Thyme Walnut Willow Wisteria Yarrow Yew"
).split()
FRENCH = (
    "Amélie Bérénice Céleste Daphné Élan Éclair Fée Flambé Frédéric Hélène Jubilé Léon Mélodie Mirabelle Noël Océane "
    "Orphée Rosé Sérénade Théo Été Étoile"
).split()


def person(rng: Random) -> str:
    """Draw a person: "Ada Lorne"."""
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def titled(*titles: str) -> Values:
    """Draw a title with a family name: "Dr Lorne"."""
    return lambda rng: f"{rng.choice(titles)} {rng.choice(LAST)}"


def town(rng: Random) -> str:
    """Draw a compound place name: "Thornmere"; a letter is not written three times."""
    name = rng.choice(TOWN_START) + rng.choice(TOWN_END)
    return re.sub(r"(.)\1\1", r"\1\1", name)


def place_name(rng: Random, patterns: Sequence[str]) -> str:
    """Draw a name from one of the patterns, e.g. "The {look} {beast}"."""
    return rng.choice(patterns).format(
        town=town(rng),
        first=rng.choice(FIRST),
        last=rng.choice(LAST),
        beast=rng.choice(BEASTS),
        look=rng.choice(LOOKS),
        thing=rng.choice(THINGS),
        plant=rng.choice(PLANTS),
        french=rng.choice(FRENCH),
    )


DAYS = one_of("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = one_of("March", "April", "May", "June", "July", "August", "September", "October")
HILLS = one_of(
    "Beacon Fell", "Bell Down", "Broken Tor", "Cinder Hill", "Crow Hill", "Dove Crag", "Gallows Hill", "Hob Tor",
    "Kite Hill", "Lantern Rise", "Long Barrow", "Maiden Tor", "Mount Sorrel", "Ram Down", "Raven Crag", "Windy Rise",
)  # fmt: skip
SEAS = one_of(
    "Brack Bay", "Cold Sound", "Cormorant Bay", "Drift Sound", "Gull Bay", "Kelp Bay", "Linnet Sound", "Marl Sound",
    "Pilgrim Bay", "Sable Sound", "Selkie Sound", "Shingle Bay", "Thole Sound", "Wrack Bay",
)  # fmt: skip
SQUARES = one_of(
    "Abbot Square", "Bellfounder Square", "Chandler Square", "Cooper Square", "Corn Square", "Fountain Square",
    "Glover Square", "Lantern Square", "Pepper Square", "Queen Maude Square", "Saddler Square", "Tallow Square",
)  # fmt: skip


# --- fields that several categories share -----------------------------------------------------------------------


def built(low: int, high: int) -> Field:
    """Year of construction."""
    return Field(
        label="built",
        values=year(low, high),
        verb=("dates from {v}", "dates back to {v}"),
        was=("built in {v}", "completed in {v}", "constructed in {v}"),
        own=("construction ended in {v}", "builders finished {it} in {v}"),
    )


def founded(low: int, high: int) -> Field:
    """Year in which an institution began."""
    return Field(
        label="founded",
        values=year(low, high),
        verb=("goes back to {v}", "has existed since {v}"),
        was=("founded in {v}", "established in {v}", "set up in {v}"),
        own=("{its} story began in {v}", "{its} foundation dates from {v}"),
    )


def opened(low: int, high: int) -> Field:
    """Year in which a place was opened to the public."""
    return Field(
        label="opened",
        values=year(low, high),
        verb=("opened in {v}", "first opened to the public in {v}", "has been in use since {v}"),
        was=("opened in {v}", "inaugurated in {v}"),
        own=("{its} opening took place in {v}", "the public was first admitted in {v}"),
    )


def role(label: str, *, title: str = "", now: Phrases = (), was: Phrases = (), own: Phrases = ()) -> Field:
    """A person with a part in the place; `title` is what one calls them, if that differs from the label."""
    tense = "was" if was else "is"
    title = title or label
    return Field(
        label=label,
        values=person,
        now=now,
        was=was,
        own=(f"{{its}} {title} {tense} {{v}}", f"{{v}} {tense} {{its}} {title}", *own),
    )


ARCHITECT = role(
    "architect",
    was=("designed by {v}", "designed by the architect {v}"),
    own=("{v} designed {it}", "the plans were drawn by {v}"),
)
OWNER = Field(
    label="owner",
    values=person,
    verb=("belongs to {v}", "is the property of {v}"),
    now=("owned by {v}",),
    own=("{its} owner is {v}", "{v} owns {it}", "{v} is the owner"),
)
KEEPS_SHOP = Field(
    label="owner",
    values=person,
    verb=("belongs to {v}",),
    now=("owned by {v}", "owned and run by {v}"),
    own=("{its} owner is {v}", "{v} owns {it}", "customers are served by the owner, {v}"),
)
DISTRICT = Field(
    label="district",
    values=one_of(
        "Bellfield", "Broomhill", "Candlewick", "Copperside", "Eastmarsh", "Foxhollow", "Gull Hill", "Hatters Green",
        "Inkwell", "Kiln Green", "Lantern Hill", "Millgate", "Nine Wells", "Northbank", "Orchard End", "Petal Green",
        "Plumfield", "Quarry Side", "Rope Walk", "Saltgate", "Silverside", "Starling Heights", "Tallowfield",
        "Upper Wharf", "Vine Hill", "Weaverside", "Westerley", "Whitewell",
    ),
    at=("in {v}", "in the {v} district", "in the district of {v}"),
    now=("located in {v}", "situated in the {v} district", "to be found in {v}"),
    own=("visitors will find {it} in {v}", "{its} address is in the {v} district"),
)  # fmt: skip
RIVERS = one_of(
    "Ashel", "Brindle", "Cawl", "Dorrow", "Elver", "Farrow", "Garrel", "Hesk", "Imber", "Jessel", "Kinnow", "Lorn",
    "Merrow", "Nettle", "Ottle", "Pell", "Quenby", "Rill", "Sarn", "Tovel", "Ulver", "Wisp",
)  # fmt: skip
RIVERSIDE = Field(
    label="river",
    values=RIVERS,
    verb=("overlooks the River {v}",),
    at=("on the River {v}", "beside the River {v}", "on the banks of the River {v}"),
    ing=("overlooking the River {v}",),
    own=("the River {v} flows past {it}", "the River {v} runs close by"),
)
NEAR = Field(
    label="near",
    values=one_of(
        "the bus station", "the corn exchange", "the ferry landing", "the fire station", "the fish dock",
        "the law courts", "the old post office", "the rose garden", "the tannery", "the town hall", "Fountain Court",
        "Heron Green", "Lamp Street", "St Orla's Church", "Tinker Lane", "Wharf Street",
    ),
    at=("near {v}", "close to {v}", "not far from {v}"),
    now=("located near {v}", "a short walk from {v}"),
    own=("{v} is nearby", "{v} is only a short walk away", "the nearest landmark is {v}"),
)  # fmt: skip
HOURS = Field(
    label="opening hours",
    values=hours,
    verb=("welcomes visitors from {v}", "keeps its doors open from {v}"),
    now=("open from {v}", "open daily from {v}"),
    own=("{its} opening hours are {v}", "everyone is welcome from {v}", "the doors are open from {v}"),
)
MATERIAL = Field(
    label="material",
    values=one_of("basalt", "flint", "granite", "grey slate", "limestone", "red brick", "sandstone", "fieldstone"),
    was=("built of {v}", "constructed from {v}"),
    now=("made of {v}",),
    before=("{v}",),
    own=("{its} builders used {v}", "{its} main material is {v}"),
)
TALL = Field(
    label="height",
    values=number(12, 78, 1, "metres"),
    verb=("is {v} tall", "stands {v} tall", "reaches a height of {v}"),
    ing=("standing {v} tall", "rising to {v}"),
    has=("a height of {v}",),
    own=("{its} height is {v}",),
)
SPAN = Field(
    label="length",
    values=number(40, 880, 10, "metres"),
    verb=("is {v} long", "measures {v} from end to end", "is {v} in length"),
    ing=("measuring {v} in length",),
    has=("a length of {v}",),
    own=("{its} length is {v}",),
)
AREA = Field(
    label="area",
    values=number(3, 96, 1, "hectares"),
    verb=("covers {v}", "extends over {v}", "takes up {v}"),
    ing=("covering {v}", "spread over {v}"),
    has=("an area of {v}",),
    own=("{its} grounds cover {v}", "{its} area is {v}"),
)
ON_HILL = Field(
    label="hill",
    values=HILLS,
    verb=("crowns {v}", "looks down from {v}"),
    ing=("crowning {v}",),
    at=("on {v}", "on top of {v}", "at the top of {v}"),
    own=("the hill beneath {it} is {v}",),
)
WATERS = Field(
    label="waters",
    values=SEAS,
    verb=("looks out over {v}", "overlooks {v}"),
    ing=("looking out over {v}", "overlooking {v}"),
    at=("on {v}", "on the shore of {v}"),
)


def tickets(low: int, high: int, step: int) -> Field:
    """Price of admission."""
    return Field(
        label="tickets",
        values=price(low, high, step),
        verb=("charges {v} for admission", "charges {v} for a ticket"),
        own=("a ticket costs {v}", "tickets cost {v}", "visitors pay {v} to get in", "admission is {v}"),
    )


def seats(low: int, high: int) -> Field:
    """Seats of an auditorium."""
    return Field(
        label="seats",
        values=number(low, high, 10),
        verb=("seats {v} people", "can hold an audience of {v}", "has room for {v} people"),
        has=("{v} seats", "room for {v} people"),
        own=("there are {v} seats", "audiences of up to {v} fit inside"),
    )


def visitors(low: int, high: int) -> Field:
    """Visitors a year."""
    return Field(
        label="yearly visitors",
        values=number(low, high, 500),
        verb=("attracts {v} visitors a year", "draws {v} visitors each year", "welcomes {v} visitors every year"),
        now=("visited by {v} people a year",),
        ing=("attracting {v} visitors a year",),
        own=("every year {v} people visit {it}", "around the year it is seen by {v} visitors"),
    )


# --- seen categories --------------------------------------------------------------------------------------------

LIGHTHOUSE = Category(
    noun="lighthouse",
    short=("lighthouse", "tower"),
    stands="stands",
    names=(
        "{town} Point", "{town} Quay", "{town} Light", "Cape {last}", "Cape {first}", "{beast} Rock", "{beast} Head",
        "The {look} Lantern", "Light of {town}", "{last}'s Beacon", "{plant} Ness Light",
    ),
    fields=(
        TALL,
        built(1760, 1935),
        MATERIAL,
        role(
            "keeper",
            now=("kept by {v}", "looked after by {v}"),
            own=("{v} keeps the lamp burning", "the lamp is tended by {v}", "{v} keeps {it}"),
        ),
        Field(
            label="range",
            values=number(8, 28, 1, "nautical miles"),
            verb=("throws its light {v} out to sea",),
            now=("visible from {v} away",),
            has=("a range of {v}", "a beam that carries {v}"),
            own=("{its} light reaches {v} out to sea", "sailors can see {it} from {v} away"),
        ),
        Field(
            label="waters",
            values=SEAS,
            verb=("guards {v}", "watches over {v}", "warns the ships that sail through {v}"),
            ing=("guarding {v}", "watching over {v}", "overlooking {v}"),
            at=("on {v}", "at the mouth of {v}"),
            own=("ships crossing {v} rely on {it}",),
        ),
        Field(
            label="colour",
            values=one_of(
                "black and white", "pale yellow", "plain white", "red and white", "sea green", "bright orange",
            ),
            now=("painted {v}",),
            before=("{v}",),
            own=("{its} walls are {v}", "{its} paintwork is {v}"),
        ),
    ),
)  # fmt: skip

CAFE = Category(
    noun="café",
    short=("café", "place"),
    stands="sits",
    names=(
        "Café {french}", "Café {last}", "The {look} {thing}", "The {thing} and {plant}", "{first}'s Kitchen",
        "{first} & {first}", "Chez {french}", "The {look} {plant}", "Corner of {plant} Street",
    ),
    fields=(
        DISTRICT,
        KEEPS_SHOP,
        NEAR,
        HOURS,
        Field(
            label="coffee",
            values=price(180, 460, 10),
            verb=("sells coffee at {v} a cup", "charges {v} for a cup of coffee", "pours a coffee for {v}"),
            ing=("serving coffee at {v} a cup",),
            own=("a cup of coffee costs {v}", "coffee is {v} a cup", "guests pay {v} for a coffee"),
        ),
        Field(
            label="speciality",
            values=one_of(
                "almond croissants", "apple strudel", "barley soup", "blackberry pie", "cheese scones", "cinnamon buns",
                "crème brûlée", "ginger cake", "honey waffles", "lemon tart", "mushroom toast", "pear crumble",
                "plum cake", "poppy seed rolls", "rye pancakes", "walnut bread",
            ),
            verb=("is known for its {v}", "specialises in {v}", "is a good address for {v}"),
            now=("famous for its {v}", "best known for its {v}"),
            ing=("serving {v}",),
            own=("{its} speciality is {v}", "regulars come for the {v}", "guests praise the {v}"),
        ),
        Field(
            label="tables",
            values=number(5, 28),
            verb=("seats its guests at {v} tables",),
            has=("{v} tables", "just {v} tables"),
            own=("there are {v} tables", "guests sit at {v} tables"),
        ),
        founded(1890, 2022),
    ),
)  # fmt: skip

MUSEUM = Category(
    noun="museum",
    short=("museum", "collection"),
    stands="stands",
    names=(
        "House of the {thing}", "{last} House", "The {last} Cabinet", "{town} Gallery", "The {look} {thing} House",
        "{last} Collection", "The {first} {last} Cabinet", "{plant} Hall", "Cabinet of {town}",
    ),
    fields=(
        opened(1840, 2021),
        ARCHITECT,
        DISTRICT,
        tickets(300, 1600, 50),
        visitors(4000, 90000),
        Field(
            label="collection",
            values=one_of(
                "clockwork toys", "carved spoons", "diving helmets", "early bicycles", "fishing boats", "glass flowers",
                "hand-drawn maps", "ladies' fans", "lace and ribbons", "music boxes", "painted tiles", "paper theatres",
                "pocket watches", "sewing machines", "ship models", "shop signs", "tin soldiers", "weather instruments",
            ),
            verb=("displays {v}", "shows {v}", "houses a collection of {v}"),
            now=("devoted to {v}", "dedicated to {v}"),
            ing=("showing {v}",),
            own=("{its} rooms are filled with {v}", "visitors come to see {v}", "{v} fill the display cases"),
        ),
        role("curator", now=("curated by {v}", "in the care of {v}"), own=("{v} is in charge of the displays",)),
    ),
)  # fmt: skip

BRIDGE = Category(
    noun="bridge",
    short=("bridge", "crossing"),
    stands="stands",
    names=(
        "{last}'s Crossing", "{town} Span", "The {beast} Span", "{town} Crossing", "The {look} Arch",
        "{first} {last} Way",
        "Arch of {town}", "{beast} Causeway", "The {plant} Viaduct",
    ),
    fields=(
        SPAN,
        built(1640, 2005),
        MATERIAL,
        Field(
            label="river",
            values=RIVERS,
            verb=("crosses the River {v}", "spans the River {v}", "carries traffic over the River {v}"),
            ing=("crossing the River {v}", "spanning the River {v}"),
            at=("over the River {v}", "across the River {v}"),
            own=("the River {v} flows beneath {it}",),
        ),
        role(
            "engineer",
            was=("engineered by {v}", "planned by the engineer {v}"),
            own=("{v} drew up the plans", "the plans came from {v}"),
        ),
        Field(
            label="toll",
            values=price(40, 480, 20),
            verb=("can be crossed for a toll of {v}", "charges drivers {v}"),
            has=("a toll of {v}",),
            own=("the toll is {v}", "drivers pay a toll of {v}", "each crossing costs {v}"),
        ),
        Field(
            label="arches",
            values=number(1, 14),
            verb=("rests on {v} [arch/arches]",),
            now=("supported by {v} [arch/arches]", "carried by {v} [arch/arches]"),
            has=("{v} [arch/arches]",),
            own=("{v} [arch carries/arches carry] the road",),
        ),
    ),
)  # fmt: skip

THEATRE = Category(
    noun="theatre",
    short=("theatre", "house"),
    stands="stands",
    names=(
        "The {last} Playhouse", "The {look} Curtain", "{town} Stage", "The {beast}", "{first} {last} Hall",
        "The {thing}",
        "{town} Playhouse", "The {look} {beast}", "Théâtre {french}",
    ),
    fields=(
        seats(90, 1400),
        opened(1790, 2015),
        ARCHITECT,
        DISTRICT,
        role("director", now=("directed by {v}", "led by {v}"), own=("{v} chooses the programme",)),
        Field(
            label="repertoire",
            values=one_of(
                "ballets", "children's plays", "comedies", "farces", "folk tales", "light operas", "musicals",
                "mystery plays", "new plays", "puppet shows", "shadow plays", "tragedies", "verse dramas",
            ),
            verb=("stages {v}", "puts on {v}", "specialises in {v}"),
            now=("known for its {v}",),
            ing=("staging {v}",),
            own=("{its} repertoire consists of {v}", "audiences go there for {v}"),
        ),
        tickets(600, 4800, 100),
    ),
)  # fmt: skip

PARK = Category(
    noun="park",
    short=("park", "green"),
    stands="lies",
    names=(
        "{town} Green", "{plant} Gardens", "The {last} Meadow", "{beast} Fields", "Queen {first}'s Meadow",
        "{town} Common", "Meadow of the {beast}", "{look} {plant} Walk", "{last}'s Orchard",
    ),
    fields=(
        AREA,
        opened(1820, 2018),
        DISTRICT,
        role("designer", was=("laid out by {v}", "designed by {v}"), own=("{v} laid {it} out",)),
        Field(
            label="feature",
            values=one_of(
                "a bandstand", "a boating lake", "a chess corner", "a deer enclosure", "a duck pond", "a hedge maze",
                "a herb garden", "a rose walk", "a skating rink", "a stone fountain", "a sundial", "a tea pavilion",
                "an aviary", "an old carousel", "an open-air stage",
            ),
            verb=("is known for {v}", "includes {v}"),
            has=("{v}",),
            own=("{its} main attraction is {v}", "families go there to see {v}", "in the middle there is {v}"),
        ),
        Field(
            label="closing time",
            values=one_of("6 pm", "7 pm", "8 pm", "9 pm", "10 pm", "dusk", "nightfall", "sunset"),
            verb=("closes at {v}",),
            now=("closed at {v}", "locked at {v}"),
            own=("the gates close at {v}", "{its} gates are locked at {v}", "closing time is {v}"),
        ),
        Field(
            label="trees",
            values=number(120, 4800, 20),
            verb=("contains {v} trees",),
            now=("planted with {v} trees", "shaded by {v} trees"),
            has=("{v} trees",),
            own=("walkers can enjoy the shade of {v} trees", "there are {v} trees"),
        ),
    ),
)  # fmt: skip

HOTEL = Category(
    noun="hotel",
    short=("hotel", "house"),
    stands="stands",
    names=(
        "The {last} Arms", "The {town} Grand", "{plant} Lodge", "The {look} {beast}", "{town} House", "Villa {french}",
        "The {beast} and {thing}", "Pension {last}", "Rest at {town}",
    ),
    fields=(
        OWNER,
        NEAR,
        opened(1860, 2020),
        Field(
            label="rooms",
            values=number(6, 180),
            verb=("offers {v} rooms", "has {v} rooms for its guests"),
            has=("{v} rooms",),
            own=("there are {v} rooms", "guests can choose from {v} rooms"),
        ),
        Field(
            label="room price",
            values=price(4500, 24000, 500),
            verb=("charges {v} a night", "lets its rooms for {v} a night"),
            own=("a room costs {v} a night", "guests pay {v} per night", "one night costs {v}"),
        ),
        Field(
            label="view",
            values=one_of(
                "the beach", "the cathedral", "the cliffs", "the dunes", "the fishing boats", "the forest",
                "the harbour",
                "the marshes", "the mountains", "the old town", "the salt flats", "the valley", "the vineyards",
            ),
            verb=("looks out over {v}", "overlooks {v}"),
            ing=("overlooking {v}", "looking out over {v}"),
            has=("a view of {v}", "views of {v}"),
            own=("{its} windows look out over {v}", "guests wake up to a view of {v}"),
        ),
        Field(
            label="stars",
            values=number(1, 5),
            verb=("holds {v} [star/stars]", "has been awarded {v} [star/stars]"),
            before=("{v}-star",),
            has=("{v} [star/stars]",),
            own=("inspectors gave {it} {v} [star/stars]",),
        ),
        role("manager", now=("managed by {v}", "run by {v}"), own=("{v} manages {it}",)),
    ),
)  # fmt: skip

STATION = Category(
    noun="railway station",
    short=("station",),
    stands="stands",
    names=(
        "{town} Junction", "{town} Central", "{town} Parkway", "{last} Road", "{plant} Halt", "{town} Halt",
        "St {first}'s Cross", "{beast} Lane", "{town} Riverside", "{town} East", "{town} West",
    ),
    fields=(
        opened(1838, 1998),
        ARCHITECT,
        DISTRICT,
        Field(
            label="platforms",
            values=number(1, 14),
            verb=("operates {v} [platform/platforms]",),
            has=("{v} [platform/platforms]",),
            own=("trains use {v} [platform/platforms]", "there [is/are] {v} [platform/platforms]"),
        ),
        Field(
            label="line",
            values=one_of(
                "Amber Line", "Coast Line", "Copper Line", "Hill Line", "Junction Line", "Lakes Line", "Marsh Line",
                "Moorland Line", "Northern Loop", "Orchard Line", "Quarry Line", "Valley Line",
            ),
            verb=("is a stop on the {v}", "belongs to the {v}"),
            now=("served by the {v}",),
            at=("on the {v}",),
            own=("trains on the {v} stop there", "passengers can board the {v} there"),
        ),
        Field(
            label="daily passengers",
            values=number(300, 48000, 100),
            verb=("serves {v} passengers a day", "handles {v} passengers a day"),
            now=("used by {v} passengers a day",),
            ing=("serving {v} passengers a day",),
            own=("every day {v} passengers pass through {it}",),
        ),
        role(
            "station master",
            now=("managed by {v}", "run by the station master {v}"),
            own=("{v} is in charge of {it}",),
        ),
    ),
)  # fmt: skip

LIBRARY = Category(
    noun="library",
    short=("library",),
    stands="stands",
    names=(
        "The {last} Reading Room", "{town} Athenaeum", "The {first} {last} Bookroom", "{plant} House", "{town} Stacks",
        "The {look} Quill", "Hall of the {thing}", "{last} Book House", "St {first}'s Reading Room",
    ),
    fields=(
        founded(1720, 2010),
        ARCHITECT,
        DISTRICT,
        HOURS,
        Field(
            label="books",
            values=number(6000, 240000, 500),
            verb=("holds {v} books", "owns {v} books", "lends out {v} books"),
            has=("{v} books", "a stock of {v} books"),
            own=("{its} shelves hold {v} books", "readers can choose from {v} books"),
        ),
        role("librarian", now=("headed by {v}", "run by {v}"), own=("{v} looks after the shelves",)),
        Field(
            label="late opening",
            values=DAYS,
            verb=("stays open late on {v}s", "opens late every {v}"),
            now=("open late on {v}s",),
            own=("late opening is on {v}", "readers may stay late on {v}s"),
        ),
    ),
)  # fmt: skip

MARKET = Category(
    noun="market",
    short=("market",),
    stands="stands",
    names=(
        "{town} Stalls", "{last}'s Row", "The {beast} Row", "The {look} Awning", "{plant} Cross", "{town} Fair",
        "The {thing} Row", "{first}'s Yard", "Halls of {town}",
    ),
    fields=(
        founded(1280, 1990),
        Field(
            label="day",
            values=DAYS,
            verb=("takes place every {v}", "opens every {v}"),
            now=("held every {v}", "held on {v}s"),
            own=("market day is {v}", "traders arrive early every {v}"),
        ),
        Field(
            label="stalls",
            values=number(12, 160),
            verb=("brings together {v} stalls",),
            has=("{v} stalls",),
            now=("made up of {v} stalls",),
            own=("shoppers can wander between {v} stalls", "there are {v} stalls"),
        ),
        Field(
            label="square",
            values=SQUARES,
            verb=("fills {v}", "occupies {v}"),
            at=("in {v}", "on {v}"),
            now=("set up in {v}",),
            own=("{its} stalls stand in {v}", "{v} is where the traders meet"),
        ),
        Field(
            label="goods",
            values=one_of(
                "antique clocks", "baskets", "candles", "cut flowers", "farm cheese", "garden plants",
                "knives and tools",
                "old books", "pottery", "pumpkins", "smoked fish", "songbirds", "spices", "wild mushrooms",
                "woollen cloth",
            ),
            verb=("sells {v}", "is known for its {v}", "specialises in {v}"),
            ing=("selling {v}",),
            own=("shoppers go there for the {v}", "traders offer {v}"),
        ),
        role("organiser", now=("organised by {v}", "run by {v}"), own=("{v} organises {it}",)),
    ),
)  # fmt: skip

CASTLE = Category(
    noun="castle",
    short=("castle", "fortress"),
    stands="stands",
    names=(
        "{town} Keep", "{beast}stone", "The {look} Keep", "{last} Hold", "{town} Tower", "Keep of {town}",
        "{beast}'s Nest",
        "Fort {last}", "{plant}guard", "Château {french}", "{beast} Hold",
    ),
    fields=(
        built(1080, 1620),
        OWNER,
        MATERIAL,
        RIVERSIDE,
        ON_HILL,
        tickets(400, 1800, 50),
        Field(
            label="towers",
            values=number(1, 9),
            verb=("boasts {v} [tower/towers]",),
            has=("{v} [tower/towers]",),
            now=("defended by {v} [tower/towers]",),
            own=("there [is/are] {v} [tower/towers]", "{its} walls are joined to {v} [tower/towers]"),
        ),
        Field(
            label="ghost",
            values=one_of(
                "the Blind Fiddler", "the Burnt Cook", "the Drowned Page", "the Green Lady", "the Grey Piper",
                "the Headless Mason", "the Laughing Monk", "the Pale Countess", "the Red Archer", "the Weeping Squire",
            ),
            verb=("is said to be haunted by {v}",),
            now=("reputedly haunted by {v}",),
            own=("people say that {v} haunts {it}", "legend has it that {v} walks there at night"),
        ),
        Field(
            label="built for",
            values=titled("Lord", "Lady", "Baron", "Countess", "Duke", "Bishop"),
            verb=("was once the seat of {v}",),
            was=("built for {v}", "raised for {v}"),
            own=("the first to live there was {v}", "{v} had {it} built"),
        ),
    ),
)  # fmt: skip

BOOKSHOP = Category(
    noun="bookshop",
    short=("bookshop", "shop"),
    stands="sits",
    names=(
        "The {look} Page", "{last} & Daughters", "{last} & {last}", "The {beast} and {thing}", "{first}'s Shelves",
        "The Inky {beast}", "{town} Books", "Chapter and {plant}", "Librairie {french}",
    ),
    fields=(
        KEEPS_SHOP,
        DISTRICT,
        NEAR,
        HOURS,
        founded(1870, 2021),
        Field(
            label="speciality",
            values=one_of(
                "atlases", "children's stories", "comics", "cookery books", "crime novels", "fairy tales",
                "foreign novels", "garden books", "ghost stories", "local history", "old maps", "philosophy", "poetry",
                "science fiction", "sea stories", "sheet music", "travel books",
            ),
            verb=("specialises in {v}", "concentrates on {v}", "is the place to go for {v}"),
            now=("known for its {v}", "devoted to {v}"),
            ing=("selling {v}", "specialising in {v}"),
            own=("{its} speciality is {v}", "readers go there for {v}"),
        ),
        Field(
            label="floors",
            values=number(1, 5),
            verb=("fills {v} [floor/floors]", "occupies {v} [floor/floors]"),
            now=("spread over {v} [floor/floors]",),
            has=("{v} [floor/floors]",),
            own=("{its} shelves take up {v} [floor/floors]",),
        ),
        Field(
            label="cat",
            values=one_of(
                "Biscuit", "Comma", "Domino", "Folio", "Hamlet", "Inky", "Marmalade", "Nutmeg", "Pepper", "Pickle",
                "Sonnet", "Tolly", "Truffle", "Vellum",
            ),
            verb=("is home to a cat called {v}",),
            has=("a cat called {v}", "a cat named {v}"),
            now=("guarded by a cat named {v}",),
            own=(
                "{its} cat is called {v}", "a cat named {v} sleeps in the window",
                "customers are greeted by {v} the cat",
            ),
        ),
    ),
)  # fmt: skip

SCHOOL = Category(
    noun="school",
    short=("school",),
    stands="stands",
    names=(
        "{town} Academy", "St {first}'s", "{last} College", "{plant} Grove", "The {last} Institute", "{town} Grammar",
        "{first} {last} Academy", "{plant} Bank", "Collège {french}",
    ),
    fields=(
        founded(1560, 2012),
        DISTRICT,
        ARCHITECT,
        Field(
            label="pupils",
            values=number(60, 1400, 5),
            verb=("teaches {v} pupils",),
            now=("attended by {v} pupils",),
            has=("{v} pupils",),
            own=("a total of {v} pupils attend {it}", "there are {v} pupils"),
        ),
        role("head teacher", now=("headed by {v}", "led by {v}"), own=("{v} leads {it}",)),
        Field(
            label="strength",
            values=one_of(
                "astronomy", "beekeeping", "boatbuilding", "cookery", "dance", "drama", "gardening", "languages",
                "mathematics", "music", "painting", "pottery", "sailing", "woodwork",
            ),
            verb=("is known for teaching {v}", "has a good name for {v}", "is strong in {v}"),
            now=("best known for {v}",),
            own=("{its} strength is {v}", "{its} strongest subject is {v}", "the favourite subject there is {v}"),
        ),
        Field(
            label="uniform",
            values=one_of("brown", "burgundy", "dark blue", "dark green", "grey", "maroon", "navy", "orange", "purple"),
            verb=("dresses its pupils in {v}",),
            has=("a~ {v} uniform",),
            own=("{its} uniform is {v}", "the children wear {v}", "the uniform worn there is {v}"),
        ),
    ),
)  # fmt: skip

BREWERY = Category(
    noun="brewery",
    short=("brewery", "company"),
    stands="stands",
    names=(
        "{last} & Sons", "{town} Ales", "The {look} Cask", "{beast} Brewing", "{last} Brothers",
        "The {beast} and Barrel",
        "{town} Malt House", "Brewers of {town}", "{first} {last} Ales",
    ),
    fields=(
        founded(1690, 2019),
        OWNER,
        DISTRICT,
        Field(
            label="beer",
            values=one_of(
                "Amber Otter", "Black Anvil", "Bishop's Nap", "Copper Moon", "Dark Harvest", "Drowsy Miller",
                "Foggy Dawn", "Golden Plough", "Hop Lantern", "Late Swallow", "Long Winter", "Old Heron", "Pale Ferry",
                "Red Mason", "Slow Tide", "Smoky Fox",
            ),
            verb=("brews {v}", "makes a beer called {v}", "is best known for a beer called {v}"),
            ing=("producing {v}",),
            now=("known for its beer {v}",),
            own=("{its} most popular beer is {v}", "drinkers love its {v}"),
        ),
        role("brewer", title="head brewer", now=("led by the brewer {v}",), own=("{v} does the brewing",)),
        Field(
            label="yearly output",
            values=number(400, 24000, 100, "barrels"),
            verb=("produces {v} a year", "fills {v} every year"),
            ing=("producing {v} a year",),
            has=("a yearly output of {v}",),
            own=("{its} yearly output is {v}",),
        ),
        Field(
            label="tour",
            values=price(400, 1800, 50),
            verb=("offers tours for {v}", "shows visitors around for {v}"),
            own=("a tour costs {v}", "visitors pay {v} for a tour", "guided tours are {v}"),
        ),
        Field(
            label="river",
            values=RIVERS,
            verb=("takes its water from the River {v}", "draws its water from the River {v}"),
            at=("on the River {v}", "beside the River {v}"),
            own=("{its} water comes from the River {v}",),
        ),
    ),
)  # fmt: skip

SEEN = (
    LIGHTHOUSE, CAFE, MUSEUM, BRIDGE, THEATRE, PARK, HOTEL, STATION, LIBRARY, MARKET, CASTLE, BOOKSHOP, SCHOOL, BREWERY,
)  # fmt: skip


# --- unseen categories ------------------------------------------------------------------------------------------

WINDMILL = Category(
    noun="windmill",
    short=("windmill", "mill"),
    stands="stands",
    names=(
        "{last}'s Mill", "{town} Sails", "The {look} Miller", "{beast} Mill", "{plant} Down Mill", "Sails of {town}",
    ),
    fields=(
        TALL,
        built(1610, 1890),
        OWNER,
        ON_HILL,
        role("miller", now=("worked by {v}",), own=("the miller's name is {v}", "{v} works the millstones")),
        Field(
            label="sails",
            values=number(4, 8),
            verb=("turns on {v} sails",),
            now=("driven by {v} sails",),
            has=("{v} sails",),
            own=("the wind turns its {v} sails",),
        ),
        Field(
            label="grain",
            values=one_of("barley", "buckwheat", "maize", "millet", "oats", "rye", "spelt", "wheat"),
            verb=("grinds {v}", "turns {v} into flour"),
            ing=("grinding {v}",),
            own=("{its} stones grind {v}", "farmers take their {v} there"),
        ),
        Field(
            label="restored",
            values=year(1955, 2023),
            verb=("has been turning again since {v}",),
            was=("restored in {v}", "repaired in {v}"),
            own=("volunteers restored {it} in {v}",),
        ),
    ),
)  # fmt: skip

OBSERVATORY = Category(
    noun="observatory",
    short=("observatory",),
    stands="stands",
    names=(
        "{town} Dome", "The {last} Dome", "{beast} Sky Station", "Eye of {town}", "The {look} Eye",
        "{first} {last} Dome",
    ),
    fields=(
        opened(1870, 2019),
        ON_HILL,
        tickets(400, 1500, 50),
        Field(
            label="altitude",
            values=number(420, 3600, 20, "metres"),
            verb=("stands {v} above sea level",),
            now=("perched at {v} above sea level",),
            at=("at an altitude of {v}",),
            own=("{its} altitude is {v}", "the air there, at {v}, is thin and clear"),
        ),
        Field(
            label="mirror",
            values=decimal(10, 90, "metres"),
            verb=("watches the sky with a mirror {v} wide",),
            now=("equipped with a mirror of {v}",),
            has=("a mirror {v} wide",),
            own=("{its} main mirror measures {v} across",),
        ),
        Field(
            label="director",
            values=titled("Dr", "Professor"),
            now=("directed by {v}", "led by {v}"),
            own=("{its} director is {v}", "{v} leads the research there"),
        ),
        Field(
            label="discovery",
            values=one_of(
                "Comet Arkle", "Comet Lindqvist", "Comet Umber", "the Candle Nebula", "the Kestle Moons",
                "the Ribbon Nebula",
                "the Sallow Cluster", "the Thimble Galaxy", "the Twin Lanterns",
            ),
            verb=("is famous for discovering {v}",),
            now=("famous for the discovery of {v}",),
            own=("astronomers discovered {v} there", "{v} was first seen there"),
        ),
        Field(
            label="open night",
            values=DAYS,
            verb=("lets visitors look at the stars every {v}",),
            now=("open to stargazers on {v}s",),
            own=("stargazers are welcome on {v}s", "the public night is {v}"),
        ),
    ),
)  # fmt: skip

HARBOUR = Category(
    noun="harbour",
    short=("harbour", "port"),
    stands="lies",
    names=(
        "{town} Haven", "Port {last}", "Port {first}", "{beast} Cove", "{town} Staithe", "Haven of {town}",
        "{last}'s Hard",
    ),
    fields=(
        WATERS,
        built(1590, 1960),
        Field(
            label="berths",
            values=number(12, 240),
            verb=("offers {v} berths",),
            has=("{v} berths", "berths for {v} boats"),
            own=("there is room for {v} boats", "sailors can choose from {v} berths"),
        ),
        Field(
            label="depth",
            values=number(3, 18, 1, "metres"),
            verb=("is {v} deep", "has been dredged to {v}"),
            has=("a depth of {v}",),
            own=("the water there is {v} deep", "at low tide its depth is {v}"),
        ),
        Field(
            label="catch",
            values=one_of(
                "cod", "crab", "eel", "haddock", "herring", "lobster", "mackerel", "oysters", "squid", "turbot",
            ),
            verb=("lives on its catch of {v}",),
            now=("known for its {v}",),
            own=("{its} boats bring in {v}", "the fishing crews land {v}"),
        ),
        role(
            "harbour master",
            now=("run by the harbour master {v}",),
            own=("ships report to the harbour master, {v}",),
        ),
        Field(
            label="mooring fee",
            values=price(600, 4200, 50),
            verb=("charges {v} for a mooring",),
            own=("a mooring costs {v} a night", "the mooring fee is {v}", "skippers pay {v} a night"),
        ),
    ),
)  # fmt: skip

CINEMA = Category(
    noun="cinema",
    short=("cinema", "picture house"),
    stands="stands",
    names=(
        "The {look} Screen", "{town} Picture House", "The {beast}", "Ciné {french}", "The {last} Electric",
        "The {town} Roxy",
    ),
    fields=(
        seats(60, 900),
        opened(1909, 2016),
        ARCHITECT,
        DISTRICT,
        OWNER,
        tickets(450, 1500, 50),
        Field(
            label="screens",
            values=number(1, 12),
            verb=("shows its films on {v} [screen/screens]",),
            now=("equipped with {v} [screen/screens]",),
            has=("{v} [screen/screens]",),
            own=("films run on {v} [screen/screens]",),
        ),
        Field(
            label="films",
            values=one_of(
                "cartoons", "cult horror", "documentaries", "foreign dramas", "old westerns", "romances", "short films",
                "silent classics", "spy thrillers",
            ),
            verb=("screens {v}", "specialises in {v}"),
            now=("devoted to {v}",),
            ing=("screening {v}",),
            own=("{its} programme is made up of {v}", "film lovers go there for {v}"),
        ),
    ),
)  # fmt: skip

POOL = Category(
    noun="swimming pool",
    short=("pool",),
    stands="lies",
    names=(
        "{town} Baths", "The {last} Lido", "{beast} Lido", "{plant} Street Baths", "The {look} Dolphin",
        "{town} Lido",
    ),
    fields=(
        DISTRICT,
        opened(1885, 2020),
        ARCHITECT,
        HOURS,
        Field(
            label="length",
            values=one_of("20 metres", "25 metres", "33 metres", "50 metres", "60 metres"),
            verb=("is {v} long", "measures {v} from wall to wall"),
            has=("a length of {v}",),
            own=("{its} length is {v}", "each length is {v}"),
        ),
        Field(
            label="water temperature",
            values=number(16, 31, 1, "degrees"),
            now=("heated to {v}", "kept at {v}"),
            has=("water at {v}",),
            own=("the water temperature is {v}", "swimmers enjoy water at {v}"),
        ),
        Field(
            label="lanes",
            values=number(3, 10),
            now=("divided into {v} lanes",),
            has=("{v} lanes",),
            own=("swimmers share {v} lanes",),
        ),
        Field(
            label="swim",
            values=price(220, 880, 20),
            verb=("charges {v} for a swim",),
            own=("a swim costs {v}", "bathers pay {v}"),
        ),
        role("lifeguard", now=("watched over by the lifeguard {v}",), own=("the lifeguard on duty is {v}",)),
    ),
)  # fmt: skip

CAVE = Category(
    noun="cave",
    short=("cave", "cavern"),
    stands="lies",
    names=("{last}'s Hollow", "{town} Hole", "The {look} Cavern", "{beast} Den", "Hollow of {town}", "Grotte {french}"),
    fields=(
        tickets(400, 1400, 50),
        visitors(2000, 40000),
        Field(
            label="depth",
            values=number(24, 420, 2, "metres"),
            verb=("goes down {v}", "is {v} deep", "reaches a depth of {v}"),
            has=("a depth of {v}",),
            own=("{its} lowest point lies {v} underground",),
        ),
        Field(
            label="discovered",
            values=year(1710, 1998),
            verb=("has been known since {v}",),
            was=("discovered in {v}", "first explored in {v}"),
            own=("explorers first entered {it} in {v}",),
        ),
        role("discoverer", was=("discovered by {v}", "found by {v}"), own=("{v} stumbled upon {it}",)),
        role("guide", now=("shown to visitors by {v}",), own=("{v} guides visitors through {it}",)),
        Field(
            label="animals",
            values=one_of("bats", "blind crayfish", "cave crickets", "glow-worms", "pale salamanders", "white spiders"),
            verb=("is home to {v}", "shelters {v}"),
            now=("inhabited by {v}",),
            ing=("sheltering {v}",),
            own=("{v} live in its dark corners", "with a lamp one can see {v}"),
        ),
        Field(
            label="temperature",
            values=number(4, 13, 1, "degrees"),
            verb=("stays at {v} all year",),
            has=("a constant temperature of {v}",),
            own=("the air inside never warms above {v}", "{its} temperature is {v}"),
        ),
    ),
)  # fmt: skip

VINEYARD = Category(
    noun="vineyard",
    short=("vineyard", "estate"),
    stands="lies",
    names=("Clos {french}", "{last} Estate", "{town} Slopes", "Domaine {french}", "The {look} Vine", "{beast} Terrace"),
    fields=(
        AREA,
        OWNER,
        RIVERSIDE,
        Field(
            label="planted",
            values=year(1820, 2014),
            verb=("has borne grapes since {v}",),
            was=("planted in {v}",),
            own=("{its} first vines were planted in {v}",),
        ),
        Field(
            label="grape",
            values=one_of(
                "Auberine", "Black Solenne", "Cassarel", "Grey Muscatine", "Oriole", "Rosaline", "White Solenne",
            ),
            verb=("grows {v}", "is planted with {v} vines"),
            ing=("growing {v}",),
            own=("the grape grown there is {v}", "{its} wine is pressed from {v} grapes"),
        ),
        Field(
            label="bottles",
            values=number(2000, 90000, 500),
            verb=("fills {v} bottles a year", "yields {v} bottles a year"),
            ing=("producing {v} bottles a year",),
            own=("every harvest gives {v} bottles",),
        ),
        role("winemaker", now=("tended by the winemaker {v}",), own=("{v} makes the wine",)),
        Field(
            label="bottle price",
            values=price(700, 4800, 50),
            verb=("sells its wine at {v} a bottle",),
            own=("a bottle costs {v}", "buyers pay {v} a bottle"),
        ),
    ),
)  # fmt: skip

WATERFALL = Category(
    noun="waterfall",
    short=("waterfall", "cascade"),
    stands="lies",
    names=("{last}'s Leap", "{town} Force", "The {look} Veil", "{beast} Leap", "Veil of {town}", "{plant} Spout"),
    fields=(
        visitors(2000, 60000),
        Field(
            label="height",
            values=number(9, 180, 1, "metres"),
            verb=("drops {v}", "plunges {v} into a pool", "falls {v}"),
            ing=("dropping {v}", "plunging {v}"),
            has=("a drop of {v}",),
            own=("the water falls {v}", "{its} height is {v}"),
        ),
        Field(
            label="river",
            values=RIVERS,
            verb=("is fed by the River {v}",),
            now=("fed by the River {v}",),
            at=("on the River {v}", "on the upper River {v}"),
            own=("the River {v} tumbles over its edge", "{its} water comes from the River {v}"),
        ),
        Field(
            label="nearest village",
            values=town,
            verb=("lies within earshot of {v}",),
            at=("near the village of {v}", "close to the village of {v}"),
            own=("the nearest village is {v}", "walkers set out from the village of {v}"),
        ),
        Field(
            label="footpath",
            values=decimal(10, 80, "kilometres"),
            verb=("can be reached by a footpath of {v}",),
            own=("the footpath to {it} is {v} long", "hikers follow a path of {v}"),
        ),
        Field(
            label="best season",
            values=one_of("early spring", "late autumn", "late spring", "midsummer", "midwinter"),
            verb=("is at its best in {v}",),
            now=("most impressive in {v}",),
            own=("the best season for a visit is {v}",),
        ),
        Field(
            label="pool depth",
            values=number(2, 14, 1, "metres"),
            verb=("ends in a pool {v} deep",),
            own=("the pool below is {v} deep", "bathers dive into a pool {v} deep"),
        ),
    ),
)  # fmt: skip

CLOCK_TOWER = Category(
    noun="clock tower",
    short=("tower",),
    stands="stands",
    names=("Old {first}", "The {last} Chime", "{town} Chimes", "The {look} Hand", "Big {first}", "{beast} Belfry"),
    fields=(
        TALL,
        built(1480, 1925),
        ARCHITECT,
        MATERIAL,
        Field(
            label="square",
            values=SQUARES,
            verb=("looks down on {v}", "dominates {v}"),
            at=("in {v}", "at the centre of {v}"),
            ing=("overlooking {v}", "dominating {v}"),
        ),
        Field(
            label="bells",
            values=number(1, 23),
            verb=("strikes the hours with {v} [bell/bells]",),
            has=("{v} [bell/bells]", "a chime of {v} [bell/bells]"),
            own=("there [is/are] {v} [bell/bells] at the top", "the hours are struck on {v} [bell/bells]"),
        ),
        role(
            "clockmaker",
            now=("wound every morning by the clockmaker {v}",),
            own=("the clockmaker {v} keeps the hands on time",),
        ),
        Field(
            label="steps",
            values=number(88, 410),
            verb=("can be climbed by {v} steps",),
            has=("a staircase of {v} steps",),
            own=("visitors climb {v} steps to the top", "a staircase of {v} steps leads to the clock face"),
        ),
    ),
)  # fmt: skip

ISLAND = Category(
    noun="island",
    short=("island", "isle"),
    stands="lies",
    names=("{town} Skerry", "{last} Holm", "{beast} Skerry", "{beast} Inch", "Great {plant}", "Little {town}"),
    fields=(
        Field(
            label="area",
            values=number(2, 94, 1, "square kilometres"),
            verb=("covers {v}", "measures {v}"),
            ing=("covering {v}",),
            has=("an area of {v}",),
            own=("{its} area is {v}",),
        ),
        Field(
            label="waters",
            values=SEAS,
            verb=("rises out of {v}",),
            at=("in {v}", "in the middle of {v}"),
            now=("surrounded by {v}",),
            own=("the waves of {v} wash its shores",),
        ),
        Field(
            label="population",
            values=number(14, 3200, 2),
            verb=("has {v} inhabitants", "is home to {v} people"),
            now=("inhabited by {v} people",),
            has=("a population of {v}", "{v} inhabitants"),
            own=("{its} population is {v}",),
        ),
        Field(
            label="ferry",
            values=number(10, 95, 5, "minutes"),
            verb=("can be reached by ferry in {v}",),
            own=("the ferry takes {v}", "travellers get there in {v} by ferry"),
        ),
        Field(
            label="highest point",
            values=HILLS,
            verb=("rises to its highest point at {v}",),
            own=("{its} highest point is {v}", "{v} is {its} highest point"),
        ),
        Field(
            label="product",
            values=one_of(
                "dried seaweed", "fine wool", "goat's cheese", "heather honey", "oatcakes", "sea salt", "smoked eel",
            ),
            verb=("exports {v}", "is known for its {v}"),
            now=("famous for its {v}",),
            own=("the islanders make {v}", "workshops there produce {v}"),
        ),
        role("mayor", now=("governed by {v}",), own=("{v} serves as mayor",)),
    ),
)  # fmt: skip

HOSPITAL = Category(
    noun="hospital",
    short=("hospital", "clinic"),
    stands="stands",
    names=(
        "St {first}'s", "{last} Infirmary", "{town} Infirmary", "The {last} Ward", "{town} General",
        "House of St {first}",
    ),
    fields=(
        opened(1848, 2017),
        ARCHITECT,
        DISTRICT,
        Field(
            label="beds",
            values=number(24, 900, 2),
            verb=("has beds for {v} patients",),
            has=("{v} beds",),
            own=("there are {v} beds on the wards", "{its} wards hold {v} beds"),
        ),
        Field(
            label="director",
            values=titled("Dr", "Professor"),
            now=("headed by {v}", "directed by {v}"),
            own=("{its} director is {v}", "{v} is in charge of the doctors"),
        ),
        Field(
            label="speciality",
            values=one_of(
                "burns", "children's medicine", "eye surgery", "heart surgery", "knee operations", "lung diseases",
                "skin diseases", "sleep disorders", "sports injuries",
            ),
            verb=("specialises in {v}",),
            ing=("specialising in {v}",),
            own=("{its} doctors specialise in {v}", "{its} speciality is {v}"),
        ),
        Field(
            label="nurses",
            values=number(30, 1200, 5),
            verb=("employs {v} nurses",),
            now=("staffed by {v} nurses",),
            has=("{v} nurses", "a staff of {v} nurses"),
            own=("patients are cared for by {v} nurses",),
        ),
    ),
)  # fmt: skip

GARDEN = Category(
    noun="botanical garden",
    short=("garden",),
    stands="lies",
    names=(
        "{last} Hortus", "The {look} {plant}", "{town} Glasshouses", "Hortus {first}", "Jardin {french}",
        "{plant} Terraces",
    ),
    fields=(
        AREA,
        founded(1650, 1995),
        DISTRICT,
        tickets(250, 1200, 50),
        Field(
            label="species",
            values=number(600, 12000, 50),
            verb=("grows {v} species of plants",),
            has=("{v} species of plants",),
            now=("planted with {v} species",),
            own=("{its} beds hold {v} species",),
        ),
        role("head gardener", now=("tended by {v}", "cared for by {v}"), own=("{v} tends the beds",)),
        Field(
            label="glasshouse",
            values=one_of("a cactus house", "a fern house", "a lemon house", "a palm house", "an orchid house"),
            verb=("boasts {v}", "shelters its tender plants in {v}"),
            has=("{v}",),
            own=("under glass there is {v}", "{its} pride is {v}"),
        ),
        Field(
            label="best month",
            values=MONTHS,
            verb=("is at its loveliest in {v}", "blooms best in {v}"),
            own=("the flowers are at their best in {v}", "the best month for a visit is {v}"),
        ),
    ),
)  # fmt: skip

TRAM = Category(
    noun="tram line",
    short=("line",),
    stands="runs",
    names=(
        "{town} Loop", "The {look} {beast}", "{last} Tramway", "{town} Tramway", "The {plant} Street Car",
        "{town} Flyer",
    ),
    fields=(
        opened(1887, 2018),
        Field(
            label="length",
            values=decimal(20, 190, "kilometres"),
            verb=("is {v} long", "runs for {v}"),
            has=("a length of {v}",),
            own=("{its} tracks are {v} long", "{its} length is {v}"),
        ),
        Field(
            label="stops",
            values=number(7, 42),
            verb=("serves {v} stops", "calls at {v} stops"),
            ing=("serving {v} stops",),
            has=("{v} stops",),
            own=("there are {v} stops along the way",),
        ),
        Field(
            label="fare",
            values=price(90, 380, 10),
            verb=("charges a fare of {v}", "takes passengers for {v}"),
            own=("the fare is {v}", "a ride costs {v}", "passengers pay {v}"),
        ),
        Field(
            label="colour",
            values=one_of("cream", "dark red", "green and cream", "olive", "orange", "sky blue", "yellow"),
            now=("operated with {v} trams",),
            has=("{v} trams",),
            own=("{its} trams are {v}", "the cars are painted {v}"),
        ),
        Field(
            label="terminus",
            values=SQUARES,
            verb=("ends at {v}", "terminates at {v}"),
            ing=("ending at {v}",),
            own=("{its} terminus is {v}", "the last stop is {v}"),
        ),
        Field(
            label="last tram",
            values=one_of("11 pm", "11.30 pm", "midnight", "12.30 am", "1 am"),
            verb=("runs until {v}",),
            own=("the last tram leaves at {v}", "night owls can ride home until {v}"),
        ),
        OWNER,
    ),
)  # fmt: skip

FESTIVAL = Category(
    noun="festival",
    short=("festival", "event"),
    stands="takes place",
    names=("{town} Nights", "The {look} {beast}", "{plant} Days", "{town} Sounds", "Nights of {town}", "{beast} Week"),
    fields=(
        founded(1930, 2021),
        tickets(1200, 9500, 100),
        visitors(1500, 60000),
        Field(
            label="month",
            values=MONTHS,
            verb=("takes place in {v}", "returns every {v}"),
            now=("held in {v}", "celebrated every {v}"),
            own=("the crowds gather in {v}",),
        ),
        Field(
            label="music",
            values=one_of(
                "accordion tunes", "bagpipe music", "brass bands", "choral music", "chamber music", "fiddle music",
                "folk songs", "harp music", "organ music", "sea shanties", "swing bands",
            ),
            verb=("presents {v}", "is all about {v}"),
            now=("devoted to {v}", "dedicated to {v}"),
            ing=("celebrating {v}",),
            own=("listeners come for the {v}", "the programme consists of {v}"),
        ),
        Field(
            label="stages",
            values=number(1, 9),
            verb=("fills {v} [stage/stages]",),
            has=("{v} [stage/stages]",),
            own=("musicians perform on {v} [stage/stages]", "there [is/are] {v} [stage/stages]"),
        ),
        role("organiser", now=("organised by {v}", "put together by {v}"), own=("{v} organises {it}",)),
        Field(
            label="duration",
            values=number(2, 12, 1, "days"),
            verb=("lasts {v}", "goes on for {v}"),
            ing=("lasting {v}",),
            own=("the music goes on for {v}",),
        ),
    ),
)  # fmt: skip

UNSEEN = (
    WINDMILL, OBSERVATORY, HARBOUR, CINEMA, POOL, CAVE, VINEYARD, WATERFALL, CLOCK_TOWER, ISLAND, HOSPITAL, GARDEN,
    TRAM,
    FESTIVAL,
)  # fmt: skip


# --- grammar: facts -> phrases -> sentences ---------------------------------------------------------------------


class Misfit(Exception):
    """The drawn plan cannot say these facts, or not well; draw again."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A field with its value."""

    field: Field
    value: str


PREDICATE = ("verb", "was", "now", "at", "has")
PARTICIPLES = ("was", "now", "ing")
AUXILIARY = {"verb": "", "was": "was ", "now": "is ", "has": "has "}
COMMON_WORDS = ("with", "from", "that", "this", "their")
"""Words of four letters or more that a reference may repeat"""


def agree(phrase: str, value: str) -> str:
    """Resolve [one/many]: "there [is/are] 1" -> "there is 1"."""
    return re.sub(r"\[([^/\]]+)/([^\]]+)\]", r"\1" if value == "1" else r"\2", phrase)


def say(rng: Random, fact: Fact, slots: Sequence[str]) -> tuple[str, str]:
    """Draw a slot that the field fills and one of its phrases, with a <label> for the value.

    Raises: Misfit if the field fills none of the slots.
    """
    filled = [slot for slot in slots if getattr(fact.field, slot)]
    if not filled:
        raise Misfit
    slot = rng.choice(filled)
    phrase = agree(rng.choice(getattr(fact.field, slot)), fact.value)
    return slot, phrase.replace("{v}", f"<{fact.field.label}>")


def clause(rng: Random, fact: Fact, it: str) -> str:
    """Return a clause with its own subject; `it` ("it", "the lighthouse") refers to the place."""
    phrase = say(rng, fact, ("own",))[1]
    return phrase.replace("{its}", "its" if it == "it" else f"{it}'s").replace("{it}", it)


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def predicate(rng: Random, category: Category, facts: Sequence[Fact]) -> str:
    """Return a verb phrase for a singular subject that states all facts, with an auxiliary said once if it can be.

    Raises: Misfit for three facts of which just two share an auxiliary.
    """
    said = [say(rng, fact, PREDICATE) for fact in facts]
    slots = [slot for slot, _ in said]
    auxiliary = AUXILIARY | {"at": f"{category.stands} "}
    if len(set(slots)) == 1 and slots[0] not in ("verb", "at"):
        return auxiliary[slots[0]] + listed([phrase for _, phrase in said])
    if len(facts) > 2 and len(set(slots)) < len(facts) or slots.count("at") > 1:
        raise Misfit
    return listed([auxiliary[slot] + phrase for slot, phrase in said])


def noun_phrase(rng: Random, category: Category, facts: Sequence[Fact], called: str = "") -> str:
    """Return "a~ granite lighthouse on Marl Sound built in 1874 that is kept by Ada Lorne", as the facts allow.

    Raises: Misfit if a position in the phrase would be filled twice.
    """
    said: dict[str, list[str]] = {slot: [] for slot in ("before", "at", "was", "now", "ing", "has")}
    clauses: list[Fact] = []
    for fact in facts:
        if clauses or rng.random() < 0.2:
            clauses.append(fact)
        else:
            slot, phrase = say(rng, fact, tuple(said))
            said[slot].append(phrase)
    participles = said["was"] + said["now"] + said["ing"]
    if len(said["before"]) > 1 or len(said["at"]) > 1 or said["has"] and participles:
        raise Misfit
    if len(participles) > 1 and said["ing"] or len(participles) > 2 or len(clauses) > 2:
        raise Misfit
    words = ["a~", *said["before"], category.noun, called, *said["at"]]
    words += [listed(participles)] if participles else []
    words += ["with", listed(said["has"])] if said["has"] else []
    words += [rng.choice(("that", "which")), predicate(rng, category, clauses)] if clauses else []
    return " ".join(filter(None, words))


def fronted(rng: Random, category: Category, facts: Sequence[Fact], subject: str) -> str:
    """Return "built in 1874, <subject> stands 41 metres tall".

    Raises: Misfit if a lasting state would open a sentence about a past event: "kept by Ada Lorne, it was built ...".
    """
    slot, phrase = say(rng, facts[0], PARTICIPLES)
    rest = predicate(rng, category, facts[1:])
    if slot != "was" and rest.startswith(("was ", "dates ", "goes back", "opened", "first opened")):
        raise Misfit
    return f"{phrase}, {subject} {rest}"


Facts = Sequence[Fact]


def plain(rng: Random, category: Category, facts: Facts) -> str:
    """Harrow Quay is a lighthouse built in 1874."""
    return f"<name> is {noun_phrase(rng, category, facts)}"


def plain_then_clause(rng: Random, category: Category, facts: Facts) -> str:
    """Harrow Quay is a lighthouse built in 1874, and its keeper is Ada Lorne."""
    return f"{plain(rng, category, facts[:-1])}, and {clause(rng, facts[-1], 'it')}"


def front_then_plain(rng: Random, category: Category, facts: Facts) -> str:
    """Built in 1874, Harrow Quay is a lighthouse with a height of 41 metres."""
    slot, phrase = say(rng, facts[0], (*PARTICIPLES, "has"))
    front = f"with {phrase}" if slot == "has" else phrase
    return f"{front}, <name> is {noun_phrase(rng, category, facts[1:])}"


def apposed(rng: Random, category: Category, facts: Facts) -> str:
    """Harrow Quay, a lighthouse on Marl Sound, was built in 1874."""
    return f"<name>, {noun_phrase(rng, category, facts[:1])}, {predicate(rng, category, facts[1:])}"


def apposed_first(rng: Random, category: Category, facts: Facts) -> str:
    """A lighthouse built in 1874, Harrow Quay stands 41 metres tall."""
    return f"{noun_phrase(rng, category, facts[:1])}, <name> {predicate(rng, category, facts[1:])}"


def titled_subject(rng: Random, category: Category, facts: Facts) -> str:
    """The lighthouse Harrow Quay dates from 1874."""
    subject = rng.choice((f"the {category.noun} <name>", f"the {category.noun} called <name>"))
    return f"{subject} {predicate(rng, category, facts)}"


def front_then_titled(rng: Random, category: Category, facts: Facts) -> str:
    """Built in 1874, the lighthouse Harrow Quay stands 41 metres tall."""
    return fronted(rng, category, facts, f"the {category.noun} <name>")


def inverted(rng: Random, category: Category, facts: Facts) -> str:
    """On Marl Sound stands Harrow Quay, a lighthouse built in 1874."""
    where = say(rng, facts[0], ("at",))[1]
    return f"{where} {category.stands} <name>, {noun_phrase(rng, category, facts[1:])}"


def existential(rng: Random, category: Category, facts: Facts) -> str:
    """There is a lighthouse called Harrow Quay on Marl Sound that was built in 1874."""
    called = rng.choice(("called <name>", "named <name>", "by the name of <name>"))
    return f"there is {noun_phrase(rng, category, facts, called)}"


def possessed(rng: Random, category: Category, facts: Facts) -> str:
    """Harrow Quay is a lighthouse on Marl Sound whose keeper is Ada Lorne."""
    phrase = say(rng, facts[-1], ("own",))[1]
    described = noun_phrase(rng, category, facts[:-1])
    if not phrase.startswith("{its} ") or re.search(r" (that|which|by) ", described):
        raise Misfit
    return f"<name> is {described} whose {phrase.removeprefix('{its} ')}"


def clause_first(rng: Random, category: Category, facts: Facts) -> str:
    """Ada Lorne keeps Harrow Quay, a lighthouse built in 1874."""
    phrase = say(rng, facts[0], ("own",))[1]
    if not phrase.endswith(" {it}") or "{its}" in phrase:
        raise Misfit
    return f"{phrase.removesuffix('{it}')}<name>, {noun_phrase(rng, category, facts[1:])}"


def bare(rng: Random, category: Category, facts: Facts) -> str:
    """Harrow Quay dates from 1874. (The next sentence says "the lighthouse".)"""
    return f"<name> {predicate(rng, category, facts)}"


Plan = Callable[[Random, Category, Facts], str]
OPENINGS: tuple[Plan, ...] = (
    plain, plain, plain_then_clause, front_then_plain, apposed, apposed_first, titled_subject, front_then_titled,
    inverted, existential, possessed, clause_first, bare,
)  # fmt: skip


def continued(rng: Random, category: Category, facts: Facts, subject: str) -> str:
    """Return a later sentence about `subject` ("it", "the lighthouse") that states one or two facts."""
    shape = rng.randrange(4 if len(facts) > 1 else 2)
    if len(facts) == 1:
        return clause(rng, facts[0], subject) if shape else f"{subject} {predicate(rng, category, facts)}"
    if shape == 0:
        return f"{subject} {predicate(rng, category, facts)}"
    if shape == 1:
        return fronted(rng, category, facts, subject)
    first = f"{subject} {predicate(rng, category, facts[:1])}" if shape == 2 else clause(rng, facts[0], subject)
    return f"{first}, and {clause(rng, facts[1], 'it')}"


def shares(rng: Random, num_facts: int) -> list[int]:
    """Draw how many facts each sentence states: the opening up to three, one or two later ones up to two each."""
    fitting = [
        [opening, *later]
        for opening in (1, 2, 3)
        for later in ([], [1], [2], [1, 1], [1, 2], [2, 1])
        if opening + sum(later) == num_facts
    ]
    return rng.choice(fitting)


def skeleton(rng: Random, category: Category, facts: Facts, opening: Plan) -> list[str]:
    """Draw one description: its sentences, with <label> for each value and a~ for a or an.

    Raises: Misfit if the drawn plans do not suit the facts.
    """
    order = rng.sample(list(facts), len(facts))
    first, *later = shares(rng, len(facts))
    if opening is bare and not later or opening not in (plain, titled_subject, existential, bare) and first < 2:
        raise Misfit
    sentences = [opening(rng, category, order[:first])]
    subjects = ["it", f"the {rng.choice(category.short)}"]
    rng.shuffle(subjects)
    if opening is bare:
        subjects = [f"the {category.noun}", "it"]
    start = first
    for share, subject in zip(later, subjects, strict=False):
        sentences.append(continued(rng, category, order[start : start + share], subject))
        start += share
    if opening is bare and f"the {category.noun}" not in sentences[1]:
        raise Misfit
    return sentences


def reads_well(sentences: Sequence[str], noun: str) -> bool:
    """Return whether no content word or its kin comes twice (the noun: in a sentence), nor "and" and "that" pile up."""
    text = [re.sub(r"<[^>]*>", "", sentence) for sentence in sentences]
    words = re.findall(r"[^\W\d]{4,}", " ".join(text).replace(noun, ""))
    content = [word[:5] for word in words if word not in COMMON_WORDS]
    return (
        len(set(content)) == len(content)
        and all(sentence.count(noun) < 2 and f"{sentence} ".count(" and ") < 3 for sentence in text)
        and all(sentence.count(" that ") + sentence.count(" which ") < 2 for sentence in text)
    )


def indefinite(text: str) -> str:
    """Turn each a~ into a or an, by the sound of the next word."""

    def article(match: re.Match[str]) -> str:
        sounds_open = re.match(r"(?!uni|use|eu|one)[aeiouáéíóú]|hour|8|1[18]\b", match[1])
        return f"an {match[1]}" if sounds_open else f"a {match[1]}"

    return re.sub(r"a~ (\S+)", article, text)


def written(sentences: Sequence[str], values: Mapping[str, str]) -> str:
    """Fill the values in, choose the articles, and add capitals and full stops."""
    filled = [indefinite(re.sub(r"<([^>]*)>", lambda label: values[label[1]], sentence)) for sentence in sentences]
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in filled)


def acceptable(text: str, values: Mapping[str, str]) -> bool:
    """Return whether every value stands in the text as it is, sentences start with a letter, and it is not long."""
    return (
        all(value in text for value in values.values())
        and all(start.isalpha() for start in re.findall(r"(?:^|\. )(.)", text))
        and len(text.split()) <= MAX_WORDS
    )


def describe(rng: Random, category: Category, name: str, facts: Facts) -> list[str]:
    """Draw the item's references; no two share an opening plan or a skeleton.

    Raises: Misfit if the facts do not allow enough different ones.
    """
    values = {"name": name, "category": category.noun} | {fact.field.label: fact.value for fact in facts}
    untitled = name.lower().startswith(("the ", category.noun))
    plans = [plan for plan in OPENINGS if not (untitled and plan in (titled_subject, front_then_titled))]
    target = rng.choice(NUM_REFERENCES)
    references: list[str] = []
    for _ in range(ATTEMPTS):
        plan = rng.choice(plans)
        try:
            sentences = skeleton(rng, category, facts, plan)
        except Misfit:
            continue
        text = written(sentences, values)
        if reads_well(sentences, category.noun) and acceptable(text, values):
            references.append(text)
            plans = [other for other in plans if other is not plan]
        if len(references) == target:
            return references
    raise Misfit


# --- items and files --------------------------------------------------------------------------------------------


def linearise(name: str, category: str, facts: Facts) -> str:
    """Return the source: "name : Harrow Quay | category : lighthouse | built : 1874"."""
    pairs = [("name", name), ("category", category), *((fact.field.label, fact.value) for fact in facts)]
    return " | ".join(f"{label} : {value}" for label, value in pairs)


def item(rng: Random, category: Category, seen: str, taken: Container[str]) -> dict[str, object]:
    """Draw one item of the category whose name is not among the taken ones."""
    while True:
        name = place_name(rng, category.names)
        if name in taken:
            continue
        facts = [
            Fact(field=field, value=field.values(rng))
            for field in rng.sample(category.fields, min(rng.choice(NUM_FIELDS), len(category.fields)))
        ]
        try:
            references = describe(rng, category, name, facts)
        except Misfit:
            continue
        source = linearise(name, category.noun, facts)
        return {"name": name, "source": source, "references": references, "category": category.noun, "seen": seen}


def splits(seed: int = SEED) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield (split, its items); names are distinct over all splits, categories of a kind are equally frequent."""
    rng = Random(seed)
    taken: dict[str, None] = {}
    for split, sizes in SIZES.items():
        items = []
        for size, categories, seen in zip(sizes, (SEEN, UNSEEN), ("seen", "unseen"), strict=True):
            for index in range(size):
                drawn = item(rng, categories[index % len(categories)], seen, taken)
                taken[str(drawn.pop("name"))] = None
                items.append(drawn)
        rng.shuffle(items)
        yield split, items


def write(folder: Path, seed: int = SEED) -> None:
    """Write train.jsonl, validation.jsonl and test.jsonl, one JSON object a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, items in splits(seed):
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in items]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data" / "places")
