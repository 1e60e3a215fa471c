"""English text of many domains from a seeded grammar: records with a description each, and plain prose.

The same seed gives the same text on every Python from 3.11 on: only random(), choice, randrange, shuffle and sample of
random.Random are used, always on lists and tuples. Every name and sentence was invented for this file; places that
one can visit are left out, for the task `places` describes those.

The tables come first. `domain` reads a table of fields, one a line: "label / other label ; values ; phrase | phrase".
Values are "year 1900 1990", "num 2 9 1 metres" (low, high, step, unit), "dec 12 80 kg" (tenths), "money 10 90 5" or
"money £ 10 90 5", "a / b / c", or the name of a maker in MAKERS. In a phrase # is the value, a~ is a or an, {its},
{it} and {he} refer to the subject, [plays/play] agrees with it, and the tag says what the phrase is:

    no tag   finite verb phrase: (the Torvo 3) "weighs 3 kg"
    (was)    participle of a past event: "built in 1874"
    (is)     participle or adjective of a lasting state: "known for its sails"
    (ing)    present participle: "weighing 3 kg"
    (has)    noun phrase after "has" or "with": "a weight of 3 kg"
    (a)      in front of the noun: "Norwegian"
    (own)    clause with a subject of its own: "Clara Vogel designed {it}", "{its} weight is 3 kg"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

MIN_WORDS, MAX_WORDS = 8, 45
"""Of a description"""
MIN_PROSE, MAX_PROSE = 40, 120
"""Words of a paragraph"""
NUM_FACTS = (2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6)
"""Fields of a record besides its name and kind; one is drawn evenly"""
NO_KIND = 0.1
"""Share of records without a field for their kind"""
DRAFTS = 60
"""Drafts of a text before its record is drawn again"""

Values = Callable[[Random], str]
Named = Callable[[Random], tuple[str, str]]
"""Draws a name and its pronoun"""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A thing's fields and one English text that states every one of them."""

    domain: str
    fields: tuple[tuple[str, str], ...]
    text: str


# --- words and names --------------------------------------------------------------------------------------------

HE = tuple(
    "Adam Alan Albert Andrew Anton Arthur Bernard Boris Bradley Carlos Cedric Charles Colin Daniel David Dennis Diego "
    "Dmitri Edgar Edward Elliot Emil Ernest Felix Francis Frank Frederick Gareth George Gerald Graham Gustav Harold "
    "Harvey Hassan Henry Herbert Hiroshi Howard Ian Isaac Ivan Jack Jacob James Jerome Joel John Jorge Joseph Julian "
    "Karl Keith Kenji Kevin Lars Laurence Leo Lewis Louis Luca Malcolm Marcus Mario Martin Matthew Maurice Michael "
    "Miguel Nathan Neil Nicholas Norman Oliver Omar Oswald Patrick Paul Pedro Peter Philip Rajesh Ralph Raymond "
    "Reginald Richard Robert Roger Roland Rupert Samuel Sanjay Sebastian Sergei Simon Stanley Stefan Stephen Tariq "
    "Terence Theodore Thomas Timothy Victor Vincent Walter William".split()
)
SHE = tuple(
    "Abigail Adele Alice Amanda Amelia Amina Angela Anita Anna Audrey Barbara Beatrice Bridget Camille Carmen Caroline "
    "Catherine Charlotte Clara Claudia Daisy Deborah Diana Dorothy Edith Eleanor Elena Elizabeth Ella Emily Emma "
    "Esther Eva Fatima Felicity Fiona Florence Frances Freya Gabriela Georgia Gloria Grace Hannah Harriet Heidi Helen "
    "Hilary Ingrid Irene Isabel Jane Janet Jennifer Jessica Joan Judith Julia Karen Kate Keiko Laura Leila Lillian "
    "Louise Lucy Lydia Margaret Maria Marion Martha Mary Matilda Mei Miriam Monica Nancy Naomi Natalie Nina Nora "
    "Olivia Pamela Patricia Pauline Penelope Priya Rachel Rebecca Rita Rosalind Ruth Sally Samira Sandra Sara Sophie "
    "Stella Susan Sylvia Teresa Valerie Veronica Victoria Violet Vivian Yoko Yolanda Zara".split()
)
LAST = tuple(
    "Abbott Adeyemi Alvarez Anderson Archer Atkins Baldwin Banerjee Barlow Barnett Becker Benson Berger Blackwood Bowen "
    "Bradshaw Brennan Briggs Burton Caldwell Campbell Cardoso Carver Chen Clarke Coleman Costa Cunningham Dalton Davies "
    "Dixon Donnelly Doyle Duarte Dubois Duncan Eklund Elliott Ellis Evans Fischer Fleming Fletcher Fontaine Forster "
    "Fowler Fraser Gallagher Garcia Gardner Gibson Goldberg Gomez Graves Griffin Gupta Haas Hammond Hansen Harper "
    "Harris Hartmann Hayes Henderson Hoffman Holloway Horvath Howells Hughes Hunter Ibrahim Ivanov Jackson Jansen "
    "Jenkins Johansson Jones Kapoor Keller Kelly Kennedy Khan Kimura Klein Kovac Kowalski Kruger Lambert Laurent Lawson "
    "Lehmann Leonard Lopez Lowe Lundgren MacLeod Maddox Marlow Martinez Mason Mbeki McCarthy McKenzie Mendes Meyer "
    "Mitchell Monroe Moore Morales Moretti Morgan Murphy Nakamura Navarro Nelson Newman Nguyen Norton Novak O'Brien "
    "O'Connor Olsen Ortega Osborne Owens Palmer Parker Patel Pearson Perez Petrov Phillips Pierce Pretorius Quinn "
    "Ramirez Reid Reyes Richter Rivera Roberts Robinson Rossi Russell Sanders Santos Saunders Schmidt Schneider Sharp "
    "Silva Simmons Singh Smith Sokolov Spencer Stewart Sutton Suzuki Takeda Tanaka Taylor Thompson Torres Tucker Turner "
    "Underwood Vargas Vasquez Vogel Wagner Walker Wallace Watkins Weber Webster Whitaker Williams Wilson Winters Wong "
    "Wright Yamada Young Zimmerman".split()
)
ONSETS = tuple("b br c cl d dr f fl g gr h j k kr l m n p pl pr r s sk st t tr v w z th sh".split())
VOWELS = tuple("a e i o u a e i o a e i o ai ea ou ie".split())
CODAS = tuple("- - - - - n r l s m t k nd rt lm x ss".split())
TAKEN = tuple(
    "Ada Beata Bruno Calla Elin Flora Greta Ida Kit Lena Lorne Milo Mira Nell Nils Noor Petra Rafe Ravi Rosa Selma Tamm "
    "Vane Vera Vess Wanda Wren Zeno".split()
)
"""Names of the task `places` that might be invented again"""
COUNTRIES = tuple(
    "Argentina Australia Austria Belgium Brazil Bulgaria Canada Chile China Colombia Croatia Cuba Denmark Egypt Estonia "
    "Ethiopia Finland France Germany Ghana Greece Hungary Iceland India Indonesia Ireland Italy Jamaica Japan Kenya "
    "Latvia Malaysia Mexico Mongolia Morocco Nepal Nigeria Norway Pakistan Peru Poland Portugal Romania Scotland Serbia "
    "Spain Sweden Switzerland Thailand Tunisia Turkey Ukraine Uruguay Vietnam Wales".split()
)
NATIONS = tuple(
    "Argentinian Australian Austrian Belgian Brazilian British Bulgarian Canadian Chilean Chinese Colombian Croatian "
    "Cuban Danish Dutch Egyptian Estonian Ethiopian Finnish French German Greek Hungarian Icelandic Indian Indonesian "
    "Irish Italian Jamaican Japanese Kenyan Korean Latvian Malaysian Mexican Mongolian Moroccan Nigerian Norwegian "
    "Pakistani Peruvian Polish Portuguese Romanian Scottish Serbian Spanish Swedish Swiss Thai Turkish Ukrainian "
    "Vietnamese Welsh".split()
)
TONGUES = tuple(
    "Arabic Bulgarian Catalan Chinese Czech Danish Dutch English Estonian Finnish French German Greek Hindi Hungarian "
    "Icelandic Italian Japanese Korean Latin Latvian Malay Norwegian Persian Polish Portuguese Romanian Russian Spanish "
    "Swahili Swedish Thai Turkish Ukrainian Urdu Vietnamese Welsh".split()
)
COLOURS = tuple(
    "beige / black / blue / brown / cream / crimson / dark blue / dark green / golden / green / grey / ivory / lemon / "
    "light blue / lilac / maroon / orange / pale green / pink / purple / red / scarlet / silver / turquoise / "
    "violet / white / yellow".split(" / ")
)
MONTHS = tuple(
    "January February March April May June July August September October November December".split(),
)
MOODS = tuple(
    "Bitter Blind Borrowed Broken Burning Careless Cold Crooked Distant Early Electric Empty Endless Faithful Final "
    "Foolish Forgotten Frozen Gentle Heavy Honest Hollow Invisible Last Lonely Longest Marble Midnight Narrow Patient "
    "Perfect Restless Second Secret Seventh Shallow Silent Slow Stolen Stubborn Sudden Tender Third Unwritten Winter "
    "Wooden Young".split()
)
NOUNS = tuple(
    "Alphabet Answer Apology Argument Brother Cage Calendar Child Circle Clock Cloud Colony Comet Copper Country Daughter "
    "Diary Dream Dust Echo Engine Evening Fever Fire Flood Garden Ghost Glass Gravity Harvest Horizon Hour Hunger Iron "
    "Journey Kingdom Letter Machine Map Memory Mirror Mountain Needle Number Ocean Orchard Paper Promise Question Rain "
    "River Road Salt Secret Shadow Signal Sister Smoke Snow Soldier Song Spring Stone Storm Stranger Summer Sword Thread "
    "Thunder Tide Traveller Truth Voice Voyage Water Weather Window Winter Witness Wound".split()
)
BODY = tuple("backed bellied breasted browed capped crowned eared footed headed legged necked tailed throated".split())
HUES = tuple("black blue bronze brown buff chestnut dusky golden green grey olive pale red rusty spotted white".split())
SUBJECTS = tuple(
    "acoustics / algebra / ancient history / architecture / astronomy / botany / cell biology / chemistry / climate "
    "science / computer graphics / criminal law / dentistry / ecology / economics / electronics / forestry / genetics / "
    "geology / geometry / grammar / logic / marine biology / music theory / nuclear physics / nursing / nutrition / "
    "oceanography / optics / philosophy / phonetics / poetry / psychology / robotics / sociology / soil science / "
    "statistics / theatre / veterinary medicine / zoology".split(" / ")
)
STUDIES = tuple("Analysis Grammar Logic Methods Poetry Studies Theory".split())
TOPICS = tuple(
    "a bank robbery / a broken friendship / a family secret / a forbidden marriage / a long journey / a lost child / a "
    "missing painting / a rebellion / a shipwreck / a stolen letter / a summer of war / childhood / courage / exile / "
    "first love / forgiveness / greed / growing old / homesickness / jealousy / life at sea / loneliness / loss / "
    "loyalty / memory / motherhood / old age / poverty / revenge / the price of fame / two rival brothers / "
    "village life".split(" / ")
)
HABITATS = tuple(
    "bamboo thickets / bogs / caves / cold lakes / coral reefs / damp meadows / deep valleys / dry forests / dry "
    "grassland / farmland / flooded forests / high mountains / hot deserts / mangrove swamps / mossy woods / old "
    "orchards / open plains / pine forests / rain forests / reed beds / rocky coasts / rocky slopes / salt marshes / "
    "sandy hills / slow rivers / snowy tundra".split(" / ")
)
FOODS = tuple(
    "acorns / ants / bark / beetles / berries / caterpillars / crabs / dead wood / earthworms / eggs / fallen fruit / "
    "figs / fresh leaves / frogs / grass / honey / lizards / mice / mosses / moths / mushrooms / nectar / nuts / pollen "
    "/ roots / seeds / shrimps / small birds / small fish / snails / spiders / termites".split(" / ")
)
METALS = tuple(
    "aluminium / bamboo / brass / bronze / carbon fibre / cast iron / fibreglass / nickel / oak / plastic / polished "
    "steel / stainless steel / steel / titanium / walnut wood".split(" / ")
)
CLOTHS = tuple(
    "alpaca wool / brushed cotton / canvas / corduroy / cotton / denim / felt / flannel / fleece / goat leather / lace "
    "/ linen / merino wool / nylon / organic cotton / recycled wool / satin / silk / tweed / velvet".split(" / ")
)
USES = tuple(
    "bending pipes / bottling juice / cleaning windows / counting coins / cutting glass / digging trenches / drilling "
    "rock / drying grain / folding paper / grinding lenses / harvesting beans / knitting socks / labelling jars / "
    "lifting crates / milking goats / mixing paint / packing eggs / peeling potatoes / planting seedlings / polishing "
    "stones / printing maps / sawing logs / sewing buttons / sharpening knives / shelling nuts / sorting letters / "
    "spinning yarn / stamping coins / washing bottles / weighing parcels".split(" / ")
)
AILMENTS = tuple(
    "allergies / asthma / back pain / burns / colds / coughs / ear infections / eczema / fever / gout / hay fever / "
    "headaches / heartburn / high blood pressure / insect bites / malaria / migraine / muscle cramps / nausea / "
    "poor sleep / sore throats / stomach pain / toothache / travel sickness".split(" / ")
)
CONTINENTS = tuple(
    "Central Africa / Central America / Central Asia / East Africa / eastern Europe / New Guinea / North America / "
    "northern Asia / South America / southern Africa / southern Europe / the Alps / the Amazon / the Andes / the "
    "Arctic / the Balkans / the Himalayas / the Mediterranean / West Africa / western Asia".split(" / ")
)


def coin(rng: Random, syllables: Sequence[int] = (1, 2, 2, 2, 2, 3)) -> str:
    """Draw an invented word: "torvinda"."""
    word = ""
    while len(word) < 4:
        word = syllabic(rng, rng.choice(syllables))
    return word


def syllabic(rng: Random, num_syllables: int) -> str:
    """Draw a word of so many syllables."""
    parts = [rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(num_syllables)]
    start = "".join(part + rng.choice(CODAS).strip("-") * (rng.random() < 0.4) for part in parts[:-1])
    word = start + parts[-1] + rng.choice(CODAS).strip("-")
    return re.sub(r"(.)\1\1", r"\1\1", word)


def coined(*endings: str, lower: bool = False) -> Values:
    """Return a maker of invented names with one of the endings; a vowel before a vowel is dropped."""

    def draw(rng: Random) -> str:
        stem, ending = coin(rng), rng.choice(endings or ("",))
        if ending[:1] in tuple("aeiouy"):
            stem = stem.rstrip("aeiou")
        name = (stem + ending).capitalize()
        return draw(rng) if name in TAKEN else name.lower() if lower else name

    return draw


CAPITAL = coined()
town = coined("", "ville", "ton", "burg", "ford", "heim", "by", "minster", "a", "ova", "ino", "os", "ia")


def surname(rng: Random) -> str:
    """Draw a family name; every third is invented."""
    return CAPITAL(rng) if rng.random() < 0.4 else rng.choice(LAST)


def gendered(rng: Random) -> tuple[str, str]:
    """Draw a person and the pronoun: ("Clara Vogel", "she")."""
    pronoun = rng.choice(("he", "she"))
    first = rng.choice(HE if pronoun == "he" else SHE)
    if rng.random() < 0.15:
        first = coined("a", "ina", "elle", "i")(rng) if pronoun == "she" else coined("o", "an", "us", "ek")(rng)
    middle = f" {rng.choice(tuple('ABCDEFGHJKLMPRSTW'))}." if rng.random() < 0.06 else ""
    return f"{first}{middle} {surname(rng)}", pronoun


def person(rng: Random) -> str:
    """Draw a person: "Clara Vogel"."""
    return gendered(rng)[0]


def patterns(*texts: str, pronouns: Sequence[str] = ("it",)) -> Named:
    """Return a maker of names such as "{coin} of the {noun}"."""

    def draw(rng: Random) -> tuple[str, str]:
        return re.sub(r"\{(\w+)\}", lambda key: MAKERS[key[1]](rng), rng.choice(texts)), rng.choice(pronouns)

    return draw


def pick(*values: str) -> Values:
    """Return a maker that draws one of the values."""
    return lambda rng: rng.choice(values)


def number(low: int, high: int, step: int, unit: str) -> Values:
    """Return a maker of low, low + step, ..., high with a unit: "1,240 metres"."""
    return lambda rng: f"{rng.randrange(low, high + 1, step):,} {unit}".strip()


def tenths(low: int, high: int, unit: str) -> Values:
    """Return a maker of decimal numbers: (12, 80, "kg") gives "1.2 kg" to "7.9 kg"; never whole."""

    def draw(rng: Random) -> str:
        whole, tenth = rng.randrange(low // 10, max(high // 10, low // 10 + 1)), rng.randrange(1, 10)
        return f"{whole}.{tenth}{'' if unit == '%' else ' '}{unit}".strip()

    return draw


def money(low: int, high: int, step: int, signs: Sequence[str], end: str = "") -> Values:
    """Return a maker of prices: "£1,250", "€12.50"."""

    def draw(rng: Random) -> str:
        pence = f".{rng.choice((25, 50, 75, 95, 99))}" if high < 200 and not end and rng.random() < 0.3 else ""
        return f"{rng.choice(signs)}{rng.randrange(low, high + 1, step):,}{pence} {end}".strip()

    return draw


def date(rng: Random) -> str:
    """Draw a day of the year: "14 March"."""
    return f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"


def score(rng: Random) -> str:
    """Draw the result of a match: "3-1"."""
    lost = rng.randrange(0, 4)
    return f"{lost + rng.randrange(1, 4)}-{lost}"


def coins(*forms: str) -> Values:
    """Return a maker from name patterns, without the pronoun."""
    named = patterns(*forms)
    return lambda rng: named(rng)[0]


def plural(noun: str) -> str:
    """Return the plural of a noun: "Countries"."""
    noun = re.sub(r"(?<![aeo])y$", "ie", noun)
    return noun + ("es" if noun.endswith(("s", "ch", "sh", "x")) else "s")


MAKERS: dict[str, Values] = {
    "coin": CAPITAL,
    "word": coined(lower=True),
    "town": town,
    "person": person,
    "last": surname,
    "first": lambda rng: rng.choice(rng.choice((HE, SHE))),
    "country": pick(*COUNTRIES),
    "nation": pick(*NATIONS),
    "colour": pick(*COLOURS),
    "month": pick(*MONTHS),
    "date": date,
    "score": score,
    "mood": pick(*MOODS),
    "noun": pick(*NOUNS),
    "clan": lambda rng: plural(CAPITAL(rng)),
    "nouns": lambda rng: plural(rng.choice(NOUNS)),
    "subject": pick(*SUBJECTS),
    "tongue": pick(*TONGUES),
    "topic": pick(*TOPICS),
    "habitat": pick(*HABITATS),
    "food": pick(*FOODS),
    "foods": lambda rng: " and ".join(rng.sample(FOODS, 2)),
    "metal": pick(*METALS),
    "cloth": pick(*CLOTHS),
    "use": pick(*USES),
    "ailment": pick(*AILMENTS),
    "region": pick(*CONTINENTS, *COUNTRIES),
    "hue": pick(*HUES),
    "body": pick(*BODY),
    "digit": number(2, 9, 1, ""),
    "hundred": number(100, 990, 10, ""),
    "roman": pick("II", "III", "IV", "V", "VI", "VII"),
    "letters": lambda rng: "".join(rng.sample(tuple("ABCDEFGHKLMNPRSTVXZ"), 2)),
    "mineral": coined("ite", "ite", "ine", "ase"),
    "speech": coined("ish", "ese", "ian", "ic", "u", "ai", "an"),
    "drug": coined("ol", "ine", "ex", "amide", "ium", "azole", "oxin", "ane", "ivir"),
    "study": lambda rng: rng.choice((rng.choice(SUBJECTS).title(), f"{CAPITAL(rng)} {rng.choice(STUDIES)}")),
    "element": coined("ium", "on"),
    "maker": coins(
        "{coin}", "{coin}", "{coin}", "{coin} {coin}", "{last} & {last}", "{coin} Motors", "{last} Works",
        "{coin} Industries", "{first} {coin}", "{coin} & Sons", "{noun}{word}", "United {coin}",
    ),
    "studio": coins("{coin} Pictures", "{coin} Films", "{last} Brothers", "{noun} Studios", "{coin} Media"),
    "label": coins("{coin} Records", "{noun} Records", "{coin} Sounds", "{mood} Tapes"),
    "press": coins("{coin} Press", "{last} & {last}", "{last} Books", "{noun} Press", "{coin} House"),
    "prize": coins("{coin} Prize", "{last} Prize", "{coin} Medal", "{last} Medal", "{nation} Book Award", "{noun} Award"),
    "university": coins("the University of {town}", "{coin} University", "the {last} Institute", "{town} College"),
    "team": coins("{town} United", "{town} Rovers", "{town} Athletic", "FC {town}", "the {town} Wolves", "Real {town}"),
    "party": coins("the {coin} Party", "the {noun} Alliance", "the Green {coin} League", "the {nation} Reform Party"),
    "book": coins("The {mood} {noun}", "{noun} and {noun}", "The {noun} of {coin}", "{mood} {noun}", "A {noun} for {first}"),
    "journal": coins("{coin} Letters", "the Journal of {coin} Research", "{nation} Science", "{coin} Quarterly"),
    "ministry": pick(*(f"minister of {x}" for x in "defence education energy finance health justice labour trade".split())),
    "power": pick(
        "bend steel", "breathe under water", "change size", "control the wind", "freeze water", "heal wounds", "melt iron",
        "move through walls", "outrun trains", "read minds", "see in the dark", "speak to birds", "stop time",
        "turn into smoke", "vanish at will", "walk on water", "lift a whole house", "talk to machines",
    ),
}  # fmt: skip


# --- domains ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Field:
    """Labels of which one is drawn, values, and the phrases of each slot."""

    labels: tuple[str, ...]
    values: Values
    slots: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A kind of thing: its nouns, its names and the fields that a record draws from."""

    name: str
    nouns: tuple[str, ...]
    names: Named
    labels: tuple[str, ...]
    """For the name"""
    fields: tuple[Field, ...]
    article: bool
    """Whether names are spoken with "the" """
    past: bool
    """Whether it is over: a battle"""


def made(spec: str) -> Values:
    """Read the values of a field: "num 2 9 1 metres", "a / b / c" or the name of a maker."""
    kind, *rest = spec.split()
    if " / " in spec:
        return pick(*spec.split(" / "))
    if kind == "year":
        low, high = int(rest[0]), int(rest[1])
        return lambda rng: str(rng.randrange(low, high + 1))
    if kind == "num":
        return number(int(rest[0]), int(rest[1]), int(rest[2]), " ".join(rest[3:]))
    if kind == "dec":
        return tenths(int(rest[0]), int(rest[1]), " ".join(rest[2:]))
    if kind == "money":
        signs = ("£", "$", "€") if rest[0].isdigit() else (rest.pop(0),)
        return money(int(rest[0]), int(rest[1]), int(rest[2]), signs, " ".join(rest[3:]))
    return MAKERS[spec]


def field(line: str) -> Field:
    """Read one line of a domain's table."""
    labels, spec, phrases = (part.strip() for part in line.split(";"))
    slots: dict[str, tuple[str, ...]] = {}
    for phrase in phrases.split(" | "):
        tag = re.match(r"\((was|is|ing|has|a|own)\) ", phrase.strip())
        slot = tag[1] if tag else "verb"
        slots[slot] = (*slots.get(slot, ()), phrase.strip().removeprefix(f"({slot}) "))
    return Field(labels=tuple(labels.split(" / ")), values=made(spec), slots=slots)


def joined(text: str) -> list[str]:
    """Return the lines of a table, each with the indented ones that continue it."""
    return re.sub(r"\n {2,}", " ", text.strip()).splitlines()


def domain(
    name: str, nouns: str, names: Named, *tables: str, label: str = "name", article: bool = False, past: bool = False
) -> Domain:
    """Read a domain from its tables of fields; an indented line continues the one before."""
    return Domain(
        name=name,
        nouns=tuple(nouns.split(" / ")),
        names=names,
        labels=tuple(label.split(" / ")),
        fields=tuple(field(line) for table in tables for line in joined(table)),
        article=article,
        past=past,
    )


LIFE = """
born / year of birth / birth year ; year 1935 1992 ; (was) born in # | (own) {its} year of birth is #
home town / birthplace / from ; town ; comes from # | grew up in # | (was) raised in # | (own) {its} home town is #
nationality / citizenship ; nation ; (a) # | (a) # | (has) # nationality | is # by birth
"""
FAMILY = """
children ; num 2 7 1 children ; has # | is the parent of #
married to / spouse ; person ; (is) married to # | (own) # is {its} partner in life
hobby / free time ; baking bread / bird watching / chess / collecting stamps / cycling / fishing / growing tomatoes / keeping
  bees / mountain climbing / playing the piano / restoring clocks / sailing / singing / swimming / woodwork ; spends free time
  on # | (own) {its} favourite pastime is # | (own) {its} hobby is #
"""
COST = """
price / costs / retail price ; money 20 900 5 ; costs # | sells for # | (is) priced at # | (has) a price of # | (own) buyers pay
  # for {it} | (own) {its} price is #
"""
WEIGHS = """
weight / mass ; dec 8 95 kg ; weighs # | (ing) weighing # | (has) a weight of # | (own) {its} weight is #
"""
DESIGNED = """
designer / designed by ; person ; (was) designed by # | (own) # designed {it} | (own) {its} designer is #
"""
VEHICLE = """
maker / manufacturer / built by ; maker ; (was) built by # | (is) made by # | (own) # builds {it}
introduced / launched / first year ; year 1948 2024 ; (was) introduced in # | first appeared in # | (was) first sold in # | has
  been on sale since #
colour ; colour ; (a) # | comes in # | (is) painted # | (own) {its} colour is #
country of origin / country ; country ; comes from # | (was) developed in # | (own) {its} country of origin is #
"""
LIVING = """
habitat / lives in ; habitat ; lives in # | (is) found in # | (ing) living in # | (own) {its} habitat is #
region / range / native to ; region ; (is) native to # | occurs in # | (own) {its} home is #
food / eats / diet ; foods ; feeds on # | eats # | lives on # | (ing) feeding on # | (own) {its} diet consists of #
discovered by / first described by ; person ; (was) first described by # | (was) discovered by # | (own) # was the first to
  describe {it}
first described / described in ; year 1758 2012 ; (was) named in # | has been known to science since #
"""
BREEDS = """
status / conservation status ; common / critically endangered / endangered / rare / secure / threatened / very common ; (a) # |
  is considered # | (is) listed as # | (own) {its} status is #
population / number left ; num 300 90000 50 animals ; has a population of about # | (own) some # are left in the wild | (has) a
  wild population of #
lifespan / life span ; num 3 45 1 years ; lives for up to # | can reach an age of # | (has) a life span of # | (own) {its} life
  span is #
length / body length ; num 6 240 1 cm ; is # long | measures # | reaches # | (ing) measuring # | (has) a length of #
colour / colouring ; colour ; (a) # | is mostly # | (has) a # back
"""
RELEASED = """
released / year / release year ; year 1952 2024 ; (was) released in # | came out in # | (own) {its} year of release was #
language ; tongue ; (is) in # | (own) {its} language is #
"""
GAME = """
players ; 2 / 2 to 4 / 2 to 6 / 3 to 5 / 3 to 7 / up to 5 / up to 8 ; (is) for # players | can be played by # people | (own) it
  takes # players
age / minimum age ; num 5 16 1 years ; (is) suitable from # of age | (own) the youngest players should be #
playing time / duration ; num 15 240 5 minutes ; takes # | lasts # | (has) a playing time of # | (ing) lasting #
"""
MACHINERY = """
made of / material ; metal ; (is) made of # | (is) built from # | (own) {its} main material is #
invented by / inventor ; person ; (was) invented by # | (own) # invented {it} | (own) {its} inventor is #
invented / invented in ; year 1790 2015 ; dates from # | (was) first built in # | (own) {its} year of invention was #
"""

SHORT_NAMES = patterns("{coin}", "{coin}", "{coin} {roman}", "{coin}-{digit}")
MODELS = patterns(
    "{coin} {hundred}", "{coin} {letters}{digit}", "{coin} {noun}", "{last} {digit}00", "{last} {coin}", "{coin} {roman}",
    "{noun} {letters}", "{last} {noun}",
)  # fmt: skip
TITLES = patterns(
    "The {mood} {noun}", "{mood} {noun}", "{noun} and {noun}", "The {noun} of {coin}", "{coin}", "{coin}'s {noun}",
    "A {noun} for {first}", "{first} and the {noun}", "No {noun} for {coin}", "Letters from {coin}", "The {last} {noun}",
    "Waiting for {first}", "{first} {last}", "The {noun} in the {noun}", "My {mood} {noun}", "Goodbye, {coin}",
)  # fmt: skip
SPECIES = patterns(
    "{hue}-{body} {word}", "{word}", "{hue} {word}", "lesser {word}", "{nation} {word}", "{word} {word}",
    "{hue}-{body} {word}", "giant {word}", "dwarf {hue} {word}",
)  # fmt: skip

DOMAINS: tuple[Domain, ...] = (
    domain("scientist", "biologist / chemist / geologist / mathematician / physicist / scientist", gendered, LIFE, """
field / research field / subject ; subject ; works on # | specialises in # | (is) known for research on # | studies # | (own)
  {its} field is #
discovery / discovered ; element ; discovered # | (own) {its} greatest discovery is # | (is) famous for discovering #
employer / works at ; university ; teaches at # | (is) employed by # | (own) {its} employer is #
award / prize ; prize ; won the # | (was) awarded the # | (own) {its} greatest honour is the # | holds the #
papers / publications ; num 12 480 1 papers ; has published # | is the author of # | (own) {its} output comes to #
teacher / supervisor ; person ; (was) trained by # | (own) # supervised {it} | learned the trade from #
"""),
    domain("novelist", "author / crime writer / novelist / poet / writer", gendered, LIFE, FAMILY, """
best-known book / notable work / famous for ; book ; wrote # | (is) famous for # | is the author of # | (own) {its} best-known
  book is #
first book / debut ; year 2008 2023 ; published a first book in # | has been writing since #
genre / writes ; crime stories / fables / fairy tales / ghost stories / historical fiction / love stories / satire / science
  fiction / short stories / spy stories / travel tales ; (is) best known for # | (own) {its} genre is #
publisher ; press ; publishes with # | (is) published by # | (own) {its} publisher is # | (own) # prints {its} work
award / prize ; prize ; won the # | (was) honoured with the # | (own) readers voted for {it} at the #
"""),
    domain("athlete", "boxer / cyclist / fencer / footballer / goalkeeper / hurdler / rower / runner / skier / swimmer"
           " / tennis player", gendered, """
born / year of birth ; year 1980 2005 ; (was) born in # | (own) {its} year of birth is #
nationality / competes for / country ; country ; competes for # | represents # | (ing) representing #
height ; num 158 212 1 cm ; is # tall | (ing) standing # tall | (has) a height of # | (own) {its} height is #
weight ; num 48 112 1 kg ; weighs # | (ing) weighing # | (own) {its} weight is #
club / team ; team ; belongs to # | joined # | (own) {its} club is # | (is) under contract with #
coach / trainer ; person ; trains with # | (is) coached by # | (own) {its} coach is # | (own) # trains {it}
medals ; num 2 28 1 medals ; has won # | is the winner of # | (own) {its} collection counts #
nickname / known as ; the Arrow / the Bear / the Bullet / the Cat / the Engine / the Flash / the Flying Fish / the Hammer / the
  Iceberg / the Machine / the Professor / the Rocket / the Shark / the Spider / the Tiger / the Wall ; (is) nicknamed # | (is)
  known to fans as # | (own) fans call {it} #
"""),
    domain("musician", "cellist / composer / conductor / drummer / guitarist / pianist / singer / songwriter / violinist",
           gendered, LIFE, FAMILY, """
genre / style ; baroque music / blues / country music / disco / folk / funk / gospel / hip hop / jazz / opera / punk / reggae /
  rock / soul / swing / tango ; performs # | (is) known for # | (own) {its} style is #
label / record label ; label ; records for # | (is) signed to # | (own) {its} records appear on #
debut album / best-known work ; book ; made a name with # | (own) {its} breakthrough came with # | recorded #
active since / career start ; year 2008 2023 ; has performed since # | went on stage for the first time in #
plays with / band ; coin ; belongs to the group # | plays in a group called #
"""),
    domain("painter", "engraver / illustrator / painter / photographer / sculptor", gendered, LIFE, """
style / movement ; abstract art / art nouveau / cubism / expressionism / folk art / minimalism / pop art / realism / romanticism
  / surrealism ; (is) associated with # | works in the tradition of # | (own) {its} style is #
best-known work / masterpiece ; book ; created # | (is) known for # | (own) {its} masterpiece is # | is the maker of #
record price / highest price ; money 2000 900000 500 ; once sold a work for # | (own) {its} dearest work fetched #
teacher / studied under ; person ; studied under # | (was) trained by # | (own) # taught {it}
themes / subjects ; birds / boats / children at play / empty streets / farm work / flowers / horses / mountains / old machines /
  sailors / snow / storms / sunsets / trees in winter / workers ; often depicts # | (ing) depicting #
"""),
    domain("politician", "diplomat / mayor / politician / senator", gendered, LIFE,
           FAMILY, """
party ; party ; belongs to # | leads # | is a member of # | (own) {its} party is # | joined #
office / position ; ministry ; serves as # | became # | (was) appointed # | (own) {its} present post is #
in office since / elected ; year 2009 2024 ; has held office since # | (was) elected in # | won the election of #
vote share / votes ; dec 240 790 % ; received # of the vote | won with # of the votes
predecessor / successor to ; person ; followed # into office | took over from # | (own) {its} predecessor was #
profession / former profession ; accountant / doctor / engineer / farmer / judge / lawyer / librarian / nurse / pilot / soldier
  / surgeon / teacher / welder ; once worked as a~ # | trained as a~ # | (own) {its} first job was that of a~ #
"""),
    domain("explorer", "adventurer / astronaut / explorer / mountaineer / navigator / pilot", gendered, LIFE, """
expeditions / journeys ; num 3 40 1 expeditions ; has led # | is a veteran of # | took part in #
longest journey ; num 20 400 1 days ; once travelled for # without a break | (own) {its} longest journey lasted #
ship / vessel ; coin ; commands the # | travelled aboard the # | (own) {its} vessel is the #
companion / partner ; person ; travels with # | (is) usually accompanied by # | (own) # is {its} companion
sponsor / paid by ; maker ; (is) sponsored by # | (own) # pays for {its} travels
record ; num 3100 8900 10 metres ; once climbed to # | (is) known for a flight at # | (own) {its} altitude record is #
"""),
    domain("comic hero", "comic hero / crime fighter / superhero / villain", patterns(
        "Captain {coin}", "Doctor {coin}", "The {mood} {noun}", "{coin}", "Professor {noun}", "Agent {coin}", "The {coin}",
        pronouns=("he", "she")), """
real name / secret identity / alter ego ; person ; (is) really called # | hides the identity of # | (own) {its} real name is #
power / special power / ability ; power ; is able to # | can # | (own) {its} special power is to #
creator / created by ; person ; (was) created by # | (own) # invented {it} | (own) {its} creator is #
first appearance / debut ; year 1938 2022 ; first appeared in # | (was) introduced in # | made a first appearance in #
enemy / arch-enemy ; coin ; fights against # | (own) {its} greatest enemy is # | (own) # is always after {it}
weakness ; bright light / cold water / garlic / gold / hunger / lies / loud music / mirrors / moonlight / pepper / salt /
  silence / sneezing / sunlight ; fears # | loses all strength through # | (own) {its} only weakness is #
costume / costume colour ; colour ; wears a~ # cape | (ing) wearing a~ # mask | (is) dressed in #
""", label="name / hero / character"),
    domain("bird", "bird / songbird / wading bird / bird of prey", SPECIES, LIVING, BREEDS, """
wingspan ; num 14 260 1 cm ; (has) a wingspan of # | (own) {its} wings measure #
eggs / clutch ; 2 eggs / 3 eggs / 4 eggs / 5 eggs / 6 eggs / 7 eggs ; lays # | (own) {its} nest holds #
""", label="name / bird / species / common name", article=True),
    domain("mammal", "antelope / bat / bear / deer / mammal / monkey / rodent / wild cat", SPECIES, LIVING, BREEDS, """
weight / mass ; num 2 640 1 kg ; weighs up to # | (ing) weighing # | (has) a weight of # | (own) {its} weight is #
top speed ; num 12 95 1 km per hour ; runs at # | can reach # | (has) a top speed of #
active ; at dawn / at dusk / at night / by day / after rain ; is most active # | searches for food #
""", label="name / animal / species / common name", article=True),
    domain("insect", "ant / bee / beetle / butterfly / fly / grasshopper / insect / moth / wasp", SPECIES, LIVING, """
size / length ; num 2 140 1 mm ; is # long | measures # | grows to # | (ing) measuring # | (has) a length of #
colour ; colour ; (a) # | (has) # wings | is almost entirely #
markings / pattern ; 2 stripes / 3 spots / 4 stripes / 5 spots / 6 stripes / 7 spots / 12 spots ; (has) # | (own) {its} back
  shows #
lives for / lifespan ; 2 days / 3 weeks / 5 weeks / 6 days / 6 weeks / 10 days / one season / two years ; lives for # | (has) a
  life span of # | (own) {its} adult life lasts #
colony / colony size ; num 200 60000 100 members ; forms colonies of # | (own) {its} colonies count #
""", label="name / insect / species", article=True),
    domain("fish", "fish / freshwater fish / ray / shark / eel", SPECIES, """
depth / lives at ; num 20 4200 10 metres ; swims at a depth of # | (is) found at a depth of #
weight / mass ; dec 3 420 kg ; weighs up to # | (ing) weighing # | (has) a weight of #
water / lives in ; cold seas / coral reefs / deep lakes / fast streams / muddy rivers / tropical seas / warm lagoons ; lives in
  # | (is) at home in # | (own) {its} home is in #
fins ; 3 fins / 4 fins / 5 fins / 6 fins / 7 fins ; swims with # | (has) # | (own) {its} body carries #
""", BREEDS, label="name / fish / species", article=True),
    domain("tree", "conifer / fruit tree / palm / shrub / tree", SPECIES, """
height / grows to ; num 9 296 1 feet ; grows to # | reaches # | (ing) reaching # | (has) a height of # | (own) {its} height is
  up to #
age / lifespan ; num 40 2400 10 years ; lives for # | can grow # old | (own) {its} life lasts up to #
flowers / flower colour ; colour ; (has) # flowers | (ing) bearing # flowers | (own) {its} flowers are #
blooms / flowering month ; month ; flowers in # | (own) {its} blossom opens in # | comes into bloom in #
soil ; chalk / clay / dry sand / gravel / heavy clay / loam / peat / poor soil / rich soil / volcanic ash ; prefers # | grows
  best on # | (own) {its} roots like #
wood used for / used for ; barrels / boats / broom handles / canoes / chairs / charcoal / fences / flutes / furniture / matches
  / paper / pencils / tool handles / toys / violins / wheels ; (is) used for # | (own) {its} wood goes into #
region / native to ; region ; (is) native to # | comes from # | (own) {its} home is #
leaves / leaf length ; num 2 60 1 cm ; (has) leaves of # | (own) {its} leaves are # long
""", label="name / tree / species", article=True),
    domain("mineral", "crystal / gemstone / mineral / ore", patterns("{mineral}"), """
colour ; colour ; (a) # | is usually # | (is) coloured # | (own) {its} colour is #
hardness ; dec 10 99 ; (has) a hardness of # | (own) {its} hardness is # | reaches # on the hardness scale
melting point / melts at ; num 340 2900 10 °C ; melts at # | (has) a melting point of # | (own) {its} melting point is #
found in / country ; country ; comes from # | (is) mined in # | (was) first found in #
used for / use ; batteries / cement / ceramics / dyes / fertiliser / fireworks / glass / jewellery / lamps / lenses / magnets /
  paint / pencils / solar cells / soap / watches ; (is) used for # | (own) {its} main use is in # | goes into the making of #
discovered by / named after ; person ; (is) named after # | (own) # found {it}
price per gram / price ; money 2 950 1 per gram ; costs # | sells at # | (has) a value of #
density ; dec 18 195 ; (has) a density of # | (own) {its} density is #
""", label="name / mineral"),
    domain("moon", "asteroid / comet / dwarf planet / exoplanet / moon / planet", SHORT_NAMES, """
diameter ; num 120 98000 10 km ; (has) a diameter of # | is # across | (ing) measuring # across
orbits / parent body ; coin ; orbits # | circles # | (ing) orbiting # | moves around #
discovered / discovery year ; year 1610 2023 ; (was) discovered in # | (was) first seen in # | has been known since #
discovered by / discoverer ; person ; (was) spotted by # | (own) # discovered {it} | (own) {its} discoverer is #
orbital period / year length ; num 3 980 1 days ; takes # for one orbit | (own) a year there lasts # | (has) an orbital period
  of #
temperature / surface temperature ; num 20 890 1 °C ; (has) a surface temperature of # | is as hot as # | (own) {its} surface
  reaches #
companions ; 2 moons / 3 moons / 4 moons / 5 rings / 7 moons / 9 moons / 12 moons ; (has) # | (own) {its} companions are #
surface / covered with ; black sand / craters / dust / frozen methane / hot lava / ice / iron / red dust / thick clouds ; (is)
  covered with # | (own) {its} surface consists of #
""", label="name / body"),
    domain("spacecraft", "probe / rocket / satellite / space telescope / spacecraft", patterns(
        "{coin} {digit}", "{coin}", "{noun}seeker {roman}", "{coin}sat", "{noun} {digit}", "{coin} {roman}"), """
launched / launch date ; year 1961 2025 ; (was) launched in # | left Earth in # | (own) {its} launch took place in #
destination / target ; coin ; travels to # | (is) bound for # | (own) {its} destination is # | heads for the comet #
operator / agency / built by ; maker ; (is) operated by # | (own) # built {it} | belongs to #
launch mass / mass ; num 90 9800 10 kg ; weighs # | (has) a launch mass of # | (ing) weighing #
cost / budget ; money 12 980 1 million ; cost # | (own) {its} budget was # | (own) taxpayers spent # on {it}
crew ; 2 people / 3 people / 4 people / 6 people / 7 people ; carries # | (has) a crew of # | (own) {its} crew consists of #
instruments ; num 2 19 1 instruments ; carries # | (is) fitted with # | (has) # on board
mission length / duration ; num 2 30 1 months ; stays in space for # | (own) {its} mission lasts # | (has) a mission of #
power ; a nuclear battery / fuel cells / lithium batteries / solar panels / a small reactor ; runs on # | (is) powered by # |
  (own) {its} power comes from #
""", label="name / spacecraft / mission"),
    domain("ship", "barge / cargo ship / ferry / fishing boat / ship / steamer / tanker / yacht", patterns(
        "MS {coin}", "{coin}", "Queen {coin}", "{mood} {noun}", "{first} {last}", "SS {coin} {noun}", "Princess {coin}"), """
built / year built ; year 1880 2022 ; (was) built in # | (was) launched in # | (own) {its} keel was laid in #
length ; num 38 1180 2 feet ; is # long | (ing) measuring # | (has) a length of # | (own) {its} length is #
top speed / speed ; num 8 38 1 knots ; reaches # | sails at # | (has) a top speed of # | can do #
captain / master ; person ; sails under Captain # | (is) commanded by # | (own) {its} captain is #
crew ; num 4 180 1 sailors ; (has) a crew of # | carries # | (is) manned by # | (own) {its} crew numbers #
cargo / carries ; bananas / cement / coal / coffee / cotton / grain / iron ore / new cars / oil / rice / salt / steel / sugar /
  tea / timber / wool ; transports # | (is) loaded with # | (own) {its} usual cargo is # | (ing) carrying #
flag / registered in ; country ; sails under the flag of # | (is) registered in #
owner ; maker ; belongs to # | (is) owned by # | (own) {its} owner is #
hull / colour ; colour ; (has) a~ # hull | (own) {its} hull is # | (is) painted #
""", label="name / ship / vessel"),
    domain("car", "car / delivery van / estate car / lorry / motorcycle / racing car / sports car / tractor", MODELS, VEHICLE, """
top speed ; num 45 340 5 km/h ; reaches # | (has) a top speed of # | can go # | (own) {its} top speed is #
engine power / power ; num 18 620 2 horsepower ; produces # | (has) an engine of # | (own) {its} engine delivers #
price / new price ; money 4500 98000 250 ; costs # | sells for # | (is) priced at # | (own) dealers ask # for {it}
consumption / uses ; dec 31 142 litres ; burns # per 100 km | needs # of fuel per 100 km
seats ; 2 seats / 4 seats / 5 seats / 6 seats / 7 seats ; (has) # | (is) fitted with # | offers #
""", WEIGHS.replace("dec 8 95 kg", "num 180 3900 10 kg"), label="name / model / car", article=True),
    domain("bicycle", "bicycle / city bike / electric bike / mountain bike / racing bike / tandem", MODELS, VEHICLE, COST,
           WEIGHS.replace("dec 8 95 kg", "dec 62 280 kg"), """
frame / frame material ; metal ; (has) a frame of # | (own) {its} frame is made of #
gears ; num 3 30 1 gears ; (has) # | (is) equipped with # | offers #
wheel size / wheels ; num 16 29 1 inches ; rides on wheels of # | (own) {its} wheels measure #
brakes ; cable brakes / coaster brakes / disc brakes / drum brakes / hydraulic brakes / rim brakes ; stops with # | (is) fitted
  with # | (has) #
""", label="name / model", article=True),
    domain("aircraft", "aircraft / airliner / biplane / drone / fighter / glider / helicopter / jet", MODELS, """
maker / manufacturer / built by ; maker ; (was) built by # | (is) made by # | (own) # manufactures {it}
first flight / maiden flight ; year 1921 2023 ; first flew in # | (own) {its} maiden flight took place in # | took to the air in
  #
wingspan ; dec 61 790 metres ; (has) a wingspan of # | (own) {its} wings measure #
passengers / seats ; num 2 420 1 passengers ; carries # | (has) room for # | seats #
range ; num 180 14800 20 km ; (has) a range of # | can fly # without landing | (own) {its} range is #
engines ; 2 engines / 2 jet engines / 2 propellers / 3 engines / 4 engines / 4 propellers / 6 rotors ; (has) # | (is) powered by
  # | flies with #
cruising speed / speed ; num 110 960 10 km/h ; cruises at # | travels at # | (own) {its} cruising speed is #
ceiling / altitude ; num 1500 14800 100 metres ; climbs to # | (has) a ceiling of # | can operate at #
""", DESIGNED, label="name / model / type", article=True),
    domain("camera", "camera / compact camera / film camera / microscope / projector / telescope", MODELS, COST, """
maker / brand ; maker ; (is) made by # | comes from # | (own) # produces {it} | (own) {its} maker is #
weight ; num 140 2900 10 g ; weighs # | (ing) weighing # | (has) a weight of # | (own) {its} weight is #
battery life ; num 2 40 1 hours ; runs for # on one charge | (has) a battery life of # | (own) {its} battery lasts #
magnification / zoom ; 3 times / 4 times / 5 times / 8 times / 10 times / 20 times / 40 times ; enlarges pictures # | (own)
  {its} lens enlarges things #
body / material ; metal ; (has) a body of # | (own) {its} body is made of # | (is) made of #
introduced / released ; year 1931 2024 ; (was) introduced in # | came out in # | (own) {its} first year was #
warranty / guarantee ; 1 year / 2 years / 3 years / 5 years / 10 years / 18 months ; comes with a guarantee of # | (is)
  guaranteed for #
colour ; colour ; (a) # | comes in # | (own) {its} colour is #
""", label="name / model / product", article=True),
    domain("computer program", "app / code editor / computer program / database / operating system / spreadsheet / web browser",
           patterns("{coin}", "{noun}{coin}", "{coin}Pad", "Open{coin}", "{coin} {digit}", "{mood}{noun}", "{coin}Base"), """
developer / author ; person ; (was) written by # | (is) maintained by # | (own) # wrote {it} | (own) {its} author is #
publisher / company ; maker ; (is) published by # | (own) # sells {it} | belongs to #
written in / programming language ; C / C++ / Fortran / Go / Haskell / Java / Lisp / Pascal / Python / Ruby / Rust ; (was)
  programmed in # | consists of # code
first released / released ; year 1984 2025 ; (was) released in # | came out in # | has been available since #
users ; num 200 980000 100 users ; (has) # | serves # | (is) trusted by # | (own) {its} community counts #
size / download size ; num 2 980 1 megabytes ; takes up # | (has) a size of # | needs # of memory
licence / license ; a commercial licence / a free licence / an academic licence / an open licence / the public domain ; (is)
  available under # | falls under #
purpose / used for ; booking flights / chatting / drawing maps / editing video / keeping accounts / learning words / making
  music / playing chess / reading mail / sharing photos / solving equations / taking notes / tracking parcels ; (is) used for #
  | (is) designed for # | (own) {its} purpose is #
version / latest version ; dec 11 149 ; has reached version # | (own) {its} latest version is #
""", label="name / title / program / app"),
    domain("film", "cartoon / comedy / documentary / drama / film / musical / thriller / western", TITLES, RELEASED, """
director / directed by ; person ; (was) directed by # | (own) # directed {it} | (own) {its} director is #
star / starring / lead ; person ; stars # | (ing) starring # | features # in the main role | (own) # plays the lead
running time / length ; num 68 214 1 minutes ; runs for # | (has) a running time of # | lasts # | (ing) lasting #
budget / cost ; money 2 290 1 million ; cost # | (has) a budget of # | (own) {its} making swallowed #
studio / producer ; studio ; (was) produced by # | (own) # financed {it} | comes from #
story / about ; topic ; tells of # | deals with # | (own) {its} subject is # | (is) about #
music / composer ; person ; (has) music by # | (own) # composed the score | (own) {its} music was written by #
award / won ; prize ; won the # | (was) honoured with the # | received the #
""", label="title / name / film"),
    domain("novel", "book / collection of poems / crime story / fairy tale / memoir / novel / play / textbook", TITLES, """
author / written by ; person ; (was) written by # | (own) # wrote {it} | (own) {its} author is # | is the work of #
published / year ; year 1790 2024 ; (was) published in # | appeared in # | (own) {its} first edition came out in #
pages / length ; num 64 980 2 pages ; has # | is # long | (ing) running to # | (has) a length of #
publisher / press ; press ; (was) printed by # | (own) # brought {it} out | (own) {its} publisher is #
theme / about / subject ; topic ; deals with # | tells of # | (own) {its} theme is # | (is) concerned with #
language / original language ; tongue ; (was) first written in # | (own) the original language is #
copies sold / sold ; num 900 980000 100 copies ; has sold # | (own) readers bought # | (own) {its} sales stand at #
hero / main character ; person ; follows the life of # | centres on # | (own) {its} main character is #
price ; money 4 60 1 ; costs # | sells for # | (own) readers pay # for {it}
""", label="title / book / name"),
    domain("song", "ballad / hymn / lullaby / march / sea shanty / song / symphony / waltz", TITLES, RELEASED, """
composer / written by ; person ; (was) composed by # | (own) # wrote {it} | (own) {its} composer is #
singer / performed by ; person ; (is) sung by # | (was) recorded by # | (own) # sings {it}
length / duration ; 2 minutes / 3 minutes / 4 minutes / 5 minutes / 7 minutes / 9 minutes / 12 minutes ; lasts # | (ing) lasting
  # | (own) {its} length is #
key ; A flat / A minor / B minor / C major / D major / D minor / E flat / E minor / F major / F sharp / G major / G minor ; (is)
  written in # | (own) {its} key is #
tempo ; num 52 190 2 beats per minute ; (has) a tempo of # | moves at #
highest place / chart position ; number 1 / number 2 / number 3 / number 4 / number 6 / number 9 / number 17 / number 30 ;
  reached # in the charts | climbed to #
label / record label ; label ; appeared on # | (own) # published {it}
about / subject ; topic ; deals with # | tells of # | (own) {its} words are about #
""", label="title / song / name"),
    domain("band", "brass band / choir / folk band / jazz band / orchestra / punk band / rock band / string band", patterns(
        "The {mood} {nouns}", "The {clan}", "{coin} and the {nouns}", "{coin}", "The {noun} {nouns}", pronouns=("they",)), """
founded / formed ; year 1962 2023 ; (was) formed in # | (was) founded in # | [has/have] existed since #
members / number of members ; num 3 60 1 members ; (has) # | [consists/consist] of #
leader / singer / conductor ; person ; (is) led by # | (own) # leads {it} | (own) {its} leader is #
home town / from ; town ; [comes/come] from # | (is) based in # | (own) {its} home town is #
genre / plays / style ; baroque music / blues / country music / dance music / disco / folk songs / gospel / jazz / metal /
  polkas / punk / reggae / rock / soul / swing / tangos ; [plays/play] # | (is) known for # | (ing) playing #
latest album / album ; book ; recorded # | released # | (own) {its} latest album is #
label / record label ; label ; (is) signed to # | [records/record] for # | (own) # releases {its} music
concerts / concerts a year ; num 12 190 1 concerts ; [gives/give] # a year | [plays/play] # every year
manager ; person ; (is) managed by # | (own) {its} manager is # | (own) # looks after {its} business
""", label="name / band / group"),
    domain("board game", "board game / card game / dice game / party game / puzzle / video game / word game", TITLES, GAME, COST,
           DESIGNED, """
cards / number of cards ; num 16 240 2 cards ; contains # | (has) # | comes with # | (ing) containing #
publisher ; maker ; (is) published by # | (own) # publishes {it} | (own) {its} publisher is #
theme / about ; bee keeping / dragons / farming / ghosts / gold mining / knights / moon travel / pirates / railways / robots /
  sea trade / spies / trains / treasure / vampires / wizards ; (is) about # | (own) {its} theme is # | deals with #
first sold / published ; year 1920 2024 ; first appeared in # | (was) invented in # | has been on sale since #
""", label="title / game / name"),
    domain("football match", "cup tie / final / football match / friendly / league match / rugby match / semi-final", patterns(
        "{town} United against {town} Rovers", "{town} against {town}", "{town} City against {coin} Rangers"), """
score / result ; score ; ended # | finished # | (own) the final score was # | (has) a final score of #
date / played on ; date ; took place on # | (was) played on # | (own) the day of {its} kick-off was #
referee ; person ; (was) refereed by # | (own) # was the referee | (own) {its} referee was #
attendance / crowd ; num 400 78000 100 spectators ; drew # | (was) watched by # | (own) {its} crowd was # | attracted #
first goal / opening goal ; the 2nd minute / the 7th minute / the 12th minute / the 19th minute / the 31st minute / the 44th
  minute / the 58th minute / the 73rd minute / the 89th minute ; saw its first goal in # | (own) the first goal fell in #
scorer / goals by / best player ; person ; made a hero of # | (was) decided by # | (own) {its} star was #
weather ; bright sunshine / drizzle / fog / heavy rain / light snow / strong wind / thunder ; (was) played in # | suffered from
  #
yellow cards ; 2 yellow cards / 3 yellow cards / 4 yellow cards / 5 yellow cards / 7 yellow cards ; saw # | brought #
""", label="match / event / game", past=True),
    domain("chess tournament", "chess tournament / cycling race / golf tournament / poker tournament / sailing race /"
           " tennis tournament", patterns(
        "{coin} Masters", "{last} Cup", "{coin} Open", "{last} Memorial", "{town} Grand Prix", "{nation} {coin} Trophy"), """
year / held in ; year 1921 2024 ; took place in # | (was) held in # | (own) {its} year was #
winner / champion / won by ; person ; (was) won by # | (own) # won {it} | (own) {its} winner was # | ended with victory for #
runner-up / second place ; person ; saw # in second place | (own) # came second | (own) {its} runner-up was #
prize money / first prize ; money 300 95000 100 ; offered a prize of # | (own) {its} first prize was # | (has) a prize of #
players / entrants ; num 8 240 2 entrants ; attracted # | (has) # | (own) {its} field consisted of #
length / duration ; num 2 16 1 days ; lasted # | (ing) lasting # | went on for #
sponsor ; maker ; (was) sponsored by # | (own) {its} sponsor was # | (own) # paid for {it}
host country / country ; country ; visited # that year | (was) hosted by # | (own) {its} host was #
""", label="event / name / tournament", article=True, past=True),
    domain("battle", "battle / clash / fight / naval battle / skirmish", patterns(
        "Battle of {town}", "{coin} Affair", "Battle of {last} Ridge", "Day of {town}", "Battle of {coin} Sands"), """
year / date ; year 1066 1910 ; took place in # | (was) fought in # | (own) {its} date was # | began in #
winner / victor / won by ; person ; (was) won by General # | ended in victory for # | (own) {its} victor was #
loser / defeated ; person ; meant defeat for # | ended the career of # | (own) # lost {it}
soldiers / troops ; num 600 90000 100 soldiers ; involved # | (own) some # took part in {it} | (has) a total of #
losses / casualties ; num 40 9000 10 dead ; left # | (own) {its} cost was # | (own) the reports speak of #
duration / length ; 2 days / 3 days / 5 hours / 6 weeks / 7 hours / 9 weeks / one morning / two months ; lasted # | (ing)
  lasting # | (own) the fighting lasted #
cause / reason ; a broken treaty / a disputed crown / a murdered envoy / a stolen flag / fishing rights / gold / grain prices /
  heavy taxes / a royal wedding / salt taxes / slave trade / unpaid wages ; arose from # | (was) caused by # | (own) {its} cause
  was #
war / part of ; coin ; formed part of the # War | belonged to the # War
""", label="name / battle / event", article=True, past=True),
    domain("scientific article", "article / conference paper / essay / lecture / review / scientific paper / thesis", patterns(
        "On the {noun} of {coin}", "{coin} and the Problem of {nouns}", "A Note on {coin} {nouns}", "Towards a {coin} Theory",
        "{noun} and {noun} in {coin}", "How {coin} Cells Move", "The {coin} Effect Revisited", "Notes on the {mood} {noun}"), """
author / by ; person ; (was) written by # | (own) # wrote {it} | (own) {its} author is # | is the work of #
journal / published in ; journal ; appeared in # | (was) printed in # | (own) # accepted {it}
year / date ; year 1931 2025 ; dates from # | (was) published in # | (own) {its} year was #
pages / length ; num 4 190 1 pages ; has # | (ing) running to # | is # long | (has) a length of #
citations / cited ; num 3 4800 1 citations ; has received # | (has) # so far | (own) {its} record stands at #
field / subject ; subject ; (is) about # | deals with # | belongs to the field of # | (own) {its} field is #
method / based on ; blood tests / computer models / field notes / interviews / lab tests / old letters / satellite images /
  sound recordings / statistics / surveys / tree rings / two experiments ; (is) based on # | relies on # | makes use of #
funding / funded by ; maker ; (was) funded by # | (own) # paid for the work
""", label="title / article / paper"),
    domain("company", "company / family business / firm / group / manufacturer / start-up / trading company",
           patterns("{maker}"), """
founded / founding year ; year 1820 2023 ; (was) founded in # | dates back to # | (own) {its} first year was #
founder / founded by ; person ; (was) started by # | (own) # founded {it} | (own) {its} founder is #
employees / staff ; num 8 98000 2 people ; employs # | (has) a staff of # | (own) {its} staff numbers #
revenue / sales / turnover ; money 2 980 1 million ; (has) sales of # | earns # a year | (own) {its} turnover is #
headquarters / based in ; town ; (is) based in # | (own) {its} head office is in #
products / makes / sells ; batteries / buttons / chairs / chocolate / clocks / compasses / computer chips / drums / gloves /
  kettles / lamps / lifts / lorries / paint / pianos / pumps / radios / rope / shoes / skis / soap / tents / toys / umbrellas ;
  trades in # | (is) known for # | (own) {its} main business is #
chief executive / head / director ; person ; (is) led by # | (own) # runs {it} | (own) {its} head is #
growth / growth rate ; dec 11 190 % ; grew by # last year | (has) a growth rate of #
""", label="name / company / firm"),
    domain("language", "creole / dialect / language / sign language", patterns("{speech}"), """
speakers / number of speakers ; num 90 980000 10 people ; (is) spoken by # | (own) # speak {it} | (has) some # who use it
spoken in / country ; country ; (is) used in # | survives in # | (own) {its} home is #
family / language family ; coin ; belongs to the # family | (is) related to # | (own) {its} closest relative is #
vowels ; num 3 16 1 vowels ; has # | (has) # | (is) unusual for its # | (own) {its} sound system has #
cases / grammatical cases ; num 2 18 1 cases ; distinguishes # | (own) {its} nouns have # | (own) {its} grammar knows #
script / writing ; Arabic letters / Cyrillic letters / Greek letters / Latin letters / a syllabic script / knots / runes ; (is)
  written in # | uses # | (own) {its} writing consists of #
word for water ; word ; calls water # | (own) {its} word for water is #
first grammar / grammar by ; person ; (was) first described by # | (own) # wrote {its} first grammar
""", label="name / language"),
    domain("garment", "blouse / cap / coat / dress / glove / hat / jacket / pullover / raincoat / scarf / shirt / skirt"
           " / waistcoat", patterns("{coin}", "{last} {noun}", "{coin} {noun}", "{first}", "{coin} {digit}", "{mood} {noun}"),
           COST, DESIGNED, """
material / fabric / made of ; cloth ; (is) made of # | consists of # | (has) a lining of # | (own) {its} fabric is #
colour ; colour ; (a) # | comes in # | (is) dyed # | (own) {its} colour is #
brand / maker / label ; maker ; (is) sold by # | (is) produced by # | (own) # makes {it} | (own) {its} brand is #
details / fittings ; 2 pockets / 3 buttons / 3 pockets / 4 buttons / 5 pockets / 6 buttons / 8 buttons ; (has) # | stands out for
  its #
size ; num 32 58 1 ; comes in size # | (is) available in size # | (own) {its} size is #
wash at / washing temperature ; 30 °C / 40 °C / 60 °C / 90 °C ; can be washed at # | (is) washable at #
made in / country ; country ; (is) sewn in # | (own) {its} country of origin is #
weight ; num 60 1900 10 g ; weighs # | (ing) weighing # | (has) a weight of # | (own) {its} weight is #
""", label="name / model / item", article=True),
    domain("dish", "casserole / dumpling / pie / pudding / salad / sauce / soup / stew / cake",
           patterns("{coin}", "Aunt {first}'s {coin}", "{coin} {coin}", "{nation} {coin}", "{last} {mood}", "Old {coin}"), """
cooking time / takes ; num 10 190 5 minutes ; takes # | cooks for # | (ing) taking # | (own) {its} cooking time is #
main ingredient / made with ; apples / aubergines / barley / beans / beetroot / cabbage / carrots / cheese / chicken / chickpeas
  / cod / lamb / leeks / lemons / lentils / mushrooms / noodles / onions / pears / peas / plums / potatoes / pumpkin / rice /
  spinach / turnips / walnuts ; (is) made with # | contains # | (own) {its} main ingredient is #
spice / seasoned with ; basil / black pepper / cardamom / chilli / cinnamon / cloves / coriander / cumin / dill / fennel /
  garlic / ginger / mint / mustard / nutmeg / paprika / parsley / rosemary / saffron / sage / vanilla ; (is) seasoned with # |
  (is) flavoured with # | gets its taste from #
country / origin ; country ; comes from # | (is) popular in # | (own) {its} country of origin is #
energy / calories ; num 90 900 10 calories ; has # | (has) # per portion | provides #
portions / serves ; 2 people / 3 people / 4 people / 5 people / 6 people / 8 people / 10 people ; (is) enough for # | feeds #
invented by / cook ; person ; (was) invented by # | (own) # first cooked {it} | goes back to #
eaten at / occasion ; birthdays / breakfast / Christmas / Easter / funerals / harvest time / lunch / New Year / supper /
  weddings ; (is) eaten at # | belongs to # | (own) families cook {it} at #
oven temperature / temperature ; num 140 240 5 °C ; needs # | (is) cooked at #
""", label="name / dish / recipe"),
    domain("instrument", "bagpipe / drum / fiddle / flute / horn / musical instrument / organ / trumpet / zither", patterns(
        "{word}", "{word}", "{word} {word}", "{last} {word}", "{nation} {word}"), MACHINERY, WEIGHS, """
keys / number of keys ; num 2 88 1 keys ; (has) # | (is) played with # | sounds through #
length / size ; num 18 240 1 cm ; is # long | measures # | (ing) measuring # | (has) a length of #
country / origin ; country ; comes from # | (is) popular in # | (own) {its} origin is #
sound ; clear / dark / deep / gentle / harsh / hoarse / nasal / shrill / silvery / soft / thin / warm ; sounds # | (has) a~ #
  tone | (own) {its} sound is #
famous player / played by ; person ; (was) made famous by # | (own) # plays {it} | (own) {its} best-known player is #
used in / played at ; ballets / dances / folk music / jazz / lullabies / marching bands / operas / parades / processions ; (is)
  heard in # | (own) musicians use {it} in #
""", label="name / instrument", article=True),
    domain("medicine", "capsule / cream / drug / medicine / ointment / pill / syrup / vaccine", patterns("{drug}"), """
used for / treats / against ; ailment ; (is) used against # | treats # | helps with # | (own) doctors prescribe {it} for #
dose / daily dose ; num 5 800 5 mg ; (is) taken in doses of # | (has) a daily dose of # | (own) {its} usual dose is #
maker / company ; maker ; (is) made by # | (own) # sells {it} | (own) {its} maker is #
approved / on the market since ; year 1931 2024 ; (was) approved in # | has been available since #
side effect / side effects ; a dry mouth / blurred vision / cold hands / dizziness / hiccups / itching / loss of appetite / mild
  nausea / red skin / ringing ears / sleepiness / swollen feet / thirst / tiredness ; can cause # | (own) {its} most common side
  effect is #
price / price per pack ; money 3 180 1 ; costs # a pack | (own) a pack costs #
effect lasts / works for ; num 2 48 1 hours ; works for # | acts for # | (own) {its} effect lasts #
taken / when to take ; after meals / at bedtime / before breakfast / every second day / in the evening / three times a day /
  twice a day / with milk ; must be taken # | (is) best taken #
success rate / works in ; dec 310 990 % ; helped # of the patients | cured # of those who tried it
discovered by / developed by ; person ; (was) developed by # | (own) # discovered {it}
""", label="name / medicine / drug"),
    domain("storm", "blizzard / cold front / cyclone / hailstorm / snowstorm / storm / tornado / winter storm", patterns(
        "Storm {first}", "Storm {coin}", "{coin}", "{first}"), """
wind speed / top wind speed ; num 62 310 2 km/h ; brought winds of # | (has) wind speeds of # | (own) {its} winds reached #
date / began ; date ; struck on # | arrived on # | (own) {its} first day was # | formed on #
damage / cost of damage ; money 2 970 1 million ; caused damage of # | cost # | (own) insurers paid #
country / area hit ; country ; hit # | passed over # | crossed # | (own) the worst-hit country was #
rain / rainfall ; num 14 480 2 mm ; brought # of rain | (own) rain gauges measured # | dropped # of rain
duration / lasted ; num 3 90 1 hours ; lasted # | (ing) lasting # | raged for # | (own) people waited # for {its} end
homes without power / power cuts ; num 300 98000 100 homes ; left # without power | cut the power to # | cost # their light
forecaster / predicted by ; person ; (was) predicted by # | (own) # had warned of {it} | surprised even #
temperature ; num 2 44 1 °C ; came with temperatures of # | (own) thermometers showed #
""", label="name / storm / event", past=True),
    domain("course", "course / evening course / lecture course / seminar / workshop", patterns(
        "Introduction to {study}", "Advanced {study}", "Topics in {study}", "Practical {study}", "Problems of {study}",
        "Beginning {study}", "{study} for Beginners", "{study} {roman}", "The History of {study}"), """
teacher / lecturer / taught by ; person ; (is) taught by # | (own) # teaches {it} | (own) {its} lecturer is #
credits / points ; num 2 30 1 credits ; (is) worth # | earns # | (own) students receive # for {it}
day / taught on ; Mondays / Tuesdays / Wednesdays / Thursdays / Fridays / Saturdays ; meets on # | (is) held on #
students / places ; num 6 380 1 students ; has room for # | (is) limited to # | (own) some # attend {it}
length / duration ; num 3 40 1 weeks ; lasts # | runs for # | (ing) lasting # | takes #
fee / costs ; money 20 1900 10 ; costs # | (has) a fee of # | (own) students pay # for {it} | (own) {its} fee is #
starts / begins ; date ; starts on # | begins on # | (own) {its} first meeting is on #
exam / assessment ; a group project / a long essay / a practical test / a presentation / a spoken exam / a term paper / a
  written exam / weekly homework ; ends with # | finishes with # | (own) the assessment is by #
textbook / set book ; book ; uses the textbook # | (is) based on # | (own) the set book is #
pass rate ; dec 410 980 % ; (has) a pass rate of # | (own) {its} pass rate is #
""", label="title / course / name"),
    domain("dog breed", "dog breed / greyhound / hound / sheepdog / spaniel / terrier", patterns(
        "{coin}ian", "{coin} Shorthair", "{last}", "{nation} {coin}", "{coin} Longtail", "{hue} {coin}", "{coin}"), """
weight / average weight ; num 2 90 1 kg ; weighs # | (ing) weighing # | (has) an average weight of # | (own) {its} weight is #
height / shoulder height ; num 18 90 1 cm ; stands # tall | (has) a height of # | (own) {its} height is # | is # tall
country / origin ; country ; comes from # | (was) first bred in # | (own) {its} country of origin is #
coat / coat colour ; black / brown / cream / chestnut / golden / grey / mottled / pale brown / red / silver / spotted / white ;
  (has) a~ # coat | (own) {its} coat is # | is nearly always #
temper / character ; alert / brave / calm / clever / friendly / gentle / lazy / loyal / nervous / patient / playful / proud /
  quiet / shy / stubborn ; (a) # | is said to be # | (own) {its} temper is # | (own) owners describe {it} as #
bred for / purpose ; carrying loads / guarding farms / herding cattle / hunting hares / pulling sledges / racing / rescue work /
  shows / watching sheep ; (is) kept for # | (was) bred for # | (is) used for #
lifespan / lives for ; num 6 32 1 years ; lives for # | (has) a life span of # | can live #
breeder / bred by ; person ; goes back to the breeder # | (own) # created {it} | (own) {its} first breeder was #
price / price of a young animal ; money 40 4800 20 ; costs # | sells for # | (own) a young animal costs #
registered since / recognised ; year 1861 2020 ; has been recognised since # | (was) registered in #
""", label="name / breed", article=True),
    domain("machine", "appliance / device / engine / loom / machine / mill / press / pump / robot / tool", MODELS, MACHINERY,
           WEIGHS, COST, """
purpose / used for ; use ; (is) used for # | (is) designed for # | serves for # | (own) {its} purpose is # | helps with #
power / power use ; num 40 4800 20 watts ; uses # | consumes # | (has) a power of # | (own) {its} motor takes #
maker / manufacturer ; maker ; (is) manufactured by # | (own) # produces {it} | comes from #
speed / output ; num 10 900 10 pieces an hour ; turns out # | handles # | (has) an output of #
noise / noise level ; num 38 110 1 decibels ; hums at # | makes a noise of # | (own) {its} noise level is #
warranty / guarantee ; 1 year / 2 years / 3 years / 5 years / 8 years / 18 months ; comes with a guarantee of # | (is)
  guaranteed for #
""", label="name / model / machine", article=True),
    domain("furniture", "armchair / bed / bookcase / chair / chest of drawers / desk / lamp / mattress / mirror / rug / sofa"
           " / stool / table / wardrobe", patterns("{coin}", "{first}", "{coin} {digit}", "{last} {noun}", "{coin} {noun}"),
           COST, DESIGNED, """
material / made of ; beech / birch / bamboo / cane / cherry wood / glass / leather / marble / oak / pine / plywood / steel /
  teak / walnut wood ; (is) made of # | (a) # | (own) {its} material is #
width ; num 24 240 2 cm ; is # wide | (has) a width of # | (ing) measuring # across | (own) {its} width is #
colour ; colour ; (a) # | comes in # | (is) painted # | (own) {its} colour is #
brand / maker / sold by ; maker ; (is) sold by # | (is) produced by # | (own) # makes {it}
assembly time ; num 5 90 5 minutes ; takes # to put together | (is) assembled in # | can be put up in #
style ; antique / baroque / classic / colonial / country / industrial / modern / romantic / rustic / simple ; (a) # | (own)
  {its} style is #
load / maximum load ; num 20 380 5 kg ; carries up to # | (is) tested for loads of # | (has) a maximum load of #
year / designed in ; year 1890 2024 ; dates from # | (was) created in # | has been produced since #
""", label="name / model / product", article=True),
)  # fmt: skip


# --- descriptions -----------------------------------------------------------------------------------------------


class Misfit(Exception):
    """The drawn phrases do not go together."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A field, its index in the record, and the mark "<index>" that stands for its value until the text is done."""

    field: Field
    mark: str


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A way to speak of the subject: as a subject, as an object, as an owner."""

    he: str
    him: str
    his: str
    plural: bool = False


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What a text is about: its domain, noun, pronoun and full name ("the <0>")."""

    domain: Domain
    noun: str
    pronoun: str
    name: str
    short: str
    """A person's family name"""

    @property
    def who(self) -> bool:
        """Whether it is a person."""
        return self.pronoun in ("he", "she")


PRONOUNS = {
    "it": Ref(he="it", him="it", his="its"),
    "he": Ref(he="he", him="him", his="his"),
    "she": Ref(he="she", him="her", his="her"),
    "they": Ref(he="they", him="them", his="their", plural=True),
}
PREDICATE = ("verb", "was", "is", "has")
PARTICIPLES = ("was", "is", "ing")
PLURAL = {"is": "are", "was": "were", "has": "have"}
COMMON_WORDS = ("with", "from", "that", "this", "their", "than", "which", "into", "over")
"""Words of four letters or more that may be repeated"""

Facts = Sequence[Fact]


def named(text: str) -> Ref:
    """Return the reference by a noun or a name."""
    return Ref(he=text, him=text, his=f"{text}'s")


def say(rng: Random, fact: Fact, slots: Sequence[str]) -> tuple[str, str]:
    """Draw one of the slots that the field fills and one of its phrases.

    Raises: Misfit if it fills none.
    """
    filled = [slot for slot in slots if slot in fact.field.slots]
    if not filled:
        raise Misfit
    slot = rng.choice(filled)
    return slot, rng.choice(fact.field.slots[slot]).replace("#", fact.mark)


def refer(phrase: str, ref: Ref) -> str:
    """Fill in the words for the subject and make the verb agree."""
    phrase = re.sub(r"\[(\w+)/(\w+)\]", r"\2" if ref.plural else r"\1", phrase)
    return phrase.replace("{its}", ref.his).replace("{it}", ref.him).replace("{he}", ref.he)


def clause(rng: Random, fact: Fact, ref: Ref) -> str:
    """Return a clause that has a subject of its own."""
    return refer(say(rng, fact, ("own",))[1], ref)


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def auxiliary(topic: Topic, slot: str, ref: Ref) -> str:
    """Return "is ", "were ", "has " ... before a phrase of the slot."""
    if slot == "verb":
        return ""
    word = {"is": "was", "has": "had"}.get(slot, slot) if topic.domain.past else slot
    return (PLURAL.get(word, word) if ref.plural else word) + " "


def predicate(rng: Random, topic: Topic, facts: Facts, ref: Ref) -> str:
    """Return a verb phrase that states all facts; an auxiliary that all share is said once.

    Raises: Misfit if some of three facts share one.
    """
    said = [say(rng, fact, PREDICATE) for fact in facts]
    slots = [slot for slot, _ in said]
    if len(facts) > 1 and len(set(slots)) == 1 and slots[0] != "verb":
        return refer(auxiliary(topic, slots[0], ref) + listed([phrase for _, phrase in said]), ref)
    if len(facts) > 2 and any(slots.count(slot) > 1 for slot in ("was", "is", "has")):
        raise Misfit
    return refer(listed([auxiliary(topic, slot, ref) + phrase for slot, phrase in said]), ref)


def noun_phrase(rng: Random, topic: Topic, facts: Facts) -> str:
    """Return "a~ Norwegian ship built in 1874 that weighs 300 tons", as the facts allow.

    Raises: Misfit if a position would be filled twice.
    """
    said: dict[str, list[str]] = {slot: [] for slot in ("a", "was", "is", "ing", "has")}
    relative: list[Fact] = []
    for fact in facts:
        if relative or rng.random() < 0.3:
            relative.append(fact)
        else:
            slot, phrase = say(rng, fact, ("a",) if "a" in fact.field.slots else tuple(said))
            said[slot].append(refer(phrase, PRONOUNS[topic.pronoun]))
    participles = said["was"] + said["is"] + said["ing"]
    if len(said["a"]) > 1 or len(participles) > 2 or len(relative) > 2 or len(participles) > 1 and said["has"]:
        raise Misfit
    if len(participles) > 1 and said["ing"]:
        raise Misfit
    words = ["a~", *said["a"], topic.noun]
    words += [listed(participles)] if participles else []
    words += ["with", listed(said["has"])] if said["has"] else []
    pronoun = "who" if topic.who else rng.choice(("that", "which"))
    words += [pronoun, predicate(rng, topic, relative, named(""))] if relative else []
    return " ".join(words)


def front(rng: Random, topic: Topic, fact: Fact) -> str:
    """Return "built in 1874" or "with a length of 30 metres"."""
    slot, phrase = say(rng, fact, (*PARTICIPLES, "has"))
    return refer(("with " if slot == "has" else "") + phrase, PRONOUNS[topic.pronoun])


def be(topic: Topic) -> str:
    """Return "is" or, of what is over, "was"."""
    return "was" if topic.domain.past else "is"


def plain(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo is a ship built in 1874."""
    return f"{topic.name} {be(topic)} {noun_phrase(rng, topic, facts)}"


def plain_then_clause(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo is a ship built in 1874, and its captain is Clara Vogel."""
    return f"{plain(rng, topic, facts[:-1])}, and {clause(rng, facts[-1], PRONOUNS[topic.pronoun])}"


def plain_then_verb(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo is a ship built in 1874, and it weighs 300 tons."""
    ref = PRONOUNS[topic.pronoun]
    return f"{plain(rng, topic, facts[:1])}, and {ref.he} {predicate(rng, topic, facts[1:], ref)}"


def front_then_plain(rng: Random, topic: Topic, facts: Facts) -> str:
    """Built in 1874, Torvo is a ship with a length of 30 metres."""
    return f"{front(rng, topic, facts[0])}, {plain(rng, topic, facts[1:])}"


def apposed(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo, a ship built in 1874, weighs 300 tons."""
    verb = predicate(rng, topic, facts[1:], named(""))
    return f"{topic.name}, {noun_phrase(rng, topic, facts[:1])}, {verb}"


def apposed_first(rng: Random, topic: Topic, facts: Facts) -> str:
    """A ship built in 1874, Torvo weighs 300 tons."""
    verb = predicate(rng, topic, facts[1:], named(""))
    return f"{noun_phrase(rng, topic, facts[:1])}, {topic.name} {verb}"


def titled(rng: Random, topic: Topic, facts: Facts) -> str:
    """The ship Torvo weighs 300 tons.

    Raises: Misfit if the name has an article.
    """
    if topic.domain.article or topic.pronoun == "they":
        raise Misfit
    called = "" if topic.who else rng.choice(("", "", "called "))
    return f"the {topic.noun} {called}{topic.name} {predicate(rng, topic, facts, named(''))}"


def aside(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo, which was built in 1874, is a ship with a length of 30 metres."""
    inner = predicate(rng, topic, facts[:1], named(""))
    pronoun = "who" if topic.who else "which"
    return f"{topic.name}, {pronoun} {inner}, {be(topic)} {noun_phrase(rng, topic, facts[1:])}"


def whose(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo is a ship whose captain is Clara Vogel.

    Raises: Misfit if no clause about something of the subject's can be said.
    """
    phrase = say(rng, facts[-1], ("own",))[1]
    described = noun_phrase(rng, topic, facts[:-1])
    if not phrase.startswith("{its} ") or re.search(r" (who|that|which|by|with) ", described):
        raise Misfit
    return f"{topic.name} {be(topic)} {described} whose {phrase.removeprefix('{its} ')}"


def clause_first(rng: Random, topic: Topic, facts: Facts) -> str:
    """Clara Vogel designed Torvo, a ship built in 1874.

    Raises: Misfit if the clause does not end with the subject.
    """
    phrase = say(rng, facts[0], ("own",))[1]
    if not phrase.endswith(" {it}") or "{its}" in phrase:
        raise Misfit
    return f"{phrase.removesuffix('{it}')}{topic.name}, {noun_phrase(rng, topic, facts[1:])}"


def bare(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo weighs 300 tons."""
    return f"{topic.name} {predicate(rng, topic, facts, named(''))}"


def front_then_verb(rng: Random, topic: Topic, facts: Facts) -> str:
    """Built in 1874, Torvo weighs 300 tons."""
    return f"{front(rng, topic, facts[0])}, {bare(rng, topic, facts[1:])}"


def owning(rng: Random, topic: Topic, facts: Facts) -> str:
    """Torvo's captain is Clara Vogel, and it weighs 300 tons. Or, of one fact: Clara Vogel designed Torvo.

    Raises: Misfit if the clause does not name the subject, or leaves "it" unclear.
    """
    phrase = say(rng, facts[0], ("own",))[1]
    first = refer(phrase, named(topic.name))
    if len(facts) == 1 and "{it" in phrase:
        return first
    if not phrase.startswith("{its}"):
        raise Misfit
    ref = PRONOUNS[topic.pronoun]
    return f"{first}, and {ref.he} {predicate(rng, topic, facts[1:], ref)}"


Plan = Callable[[Random, Topic, Facts], str]
OPENINGS: tuple[tuple[Plan, int], ...] = (
    (plain, 1), (plain, 1), (plain_then_clause, 2), (plain_then_verb, 2), (front_then_plain, 2), (apposed, 2),
    (apposed_first, 2), (titled, 1), (aside, 2), (whose, 2), (whose, 1), (clause_first, 1),
)  # fmt: skip
"""Plans that say the noun, and the facts that each needs"""
BARE_OPENINGS: tuple[tuple[Plan, int], ...] = ((bare, 1), (front_then_verb, 2), (owning, 1), (owning, 2))
"""Plans that do not"""


def continued(rng: Random, topic: Topic, facts: Facts, ref: Ref) -> str:
    """Return a later sentence that states up to three facts."""
    pronoun = PRONOUNS[topic.pronoun]
    shape = rng.randrange(6)
    if len(facts) == 1:
        return clause(rng, facts[0], ref) if shape > 2 else f"{ref.he} {predicate(rng, topic, facts, ref)}"
    if shape < 2:
        return f"{ref.he} {predicate(rng, topic, facts, ref)}"
    if shape == 2:
        return f"{front(rng, topic, facts[0])}, {ref.he} {predicate(rng, topic, facts[1:], ref)}"
    if shape == 3:
        return f"{clause(rng, facts[0], ref)}, and {pronoun.he} {predicate(rng, topic, facts[1:], pronoun)}"
    first = f"{ref.he} {predicate(rng, topic, facts[:-1], ref)}"
    return f"{first}, {rng.choice(('and', 'and', 'while'))} {clause(rng, facts[-1], pronoun)}"


def kind_said(topic: Topic, rng: Random, fact: Fact) -> str:
    """Return a second sentence that brings the noun: "It is a ship built in 1874"."""
    ref = PRONOUNS[topic.pronoun]
    verb = auxiliary(topic, "is", ref)
    return f"{ref.he} {verb}{noun_phrase(rng, topic, [fact])}"


def shares(rng: Random, num_facts: int) -> list[int]:
    """Draw how many facts each of up to three sentences states."""
    fitting = [
        [opening, *later]
        for opening in (1, 2, 2, 3)
        for later in ([], [1], [2], [1, 1], [1, 2], [2, 1], [3], [2, 2])
        if opening + sum(later) == num_facts
    ]
    return rng.choice(fitting)


def draft(rng: Random, topic: Topic, facts: Facts, with_noun: bool) -> list[str]:
    """Draw the sentences of a description.

    Raises: Misfit if the plans do not suit the facts.
    """
    order = rng.sample(list(facts), len(facts))
    first, *later = shares(rng, len(facts))
    late_noun = with_noun and later[:1] == [1] and rng.random() < 0.4
    plan, needs = rng.choice(OPENINGS if with_noun and not late_noun else BARE_OPENINGS)
    if first < needs:
        raise Misfit
    sentences = [plan(rng, topic, order[:first])]
    refs = [PRONOUNS[topic.pronoun]]
    if with_noun and topic.pronoun != "they":
        refs.append(named(f"the {topic.noun}"))
    if topic.who:
        refs.append(named(topic.short) if rng.random() < 0.5 else refs[0])
    elif not with_noun and not topic.domain.article:
        refs.append(named(topic.name))
    for index, share in enumerate(later):
        if late_noun and not index:
            sentences.append(kind_said(topic, rng, order[first]))
        else:
            sentences.append(continued(rng, topic, order[first : first + share], refs[rng.randrange(len(refs))]))
        first += share
    return sentences


def reads_well(sentences: Sequence[str], topic: Topic) -> bool:
    """Return whether no content word or its kin comes twice and clauses do not pile up."""
    plain_text = [re.sub(r"<\d>", "", sentence) for sentence in sentences]
    words = re.findall(r"[^\W\d]{4,}", " ".join(plain_text).replace(topic.noun, ""))
    content = [word[:5].lower() for word in words if word not in COMMON_WORDS]
    subjects = [sentence.split(" ")[:2] for sentence in sentences]
    return (
        len(set(content)) == len(content)
        and all(f"{sentence} ".count(" and ") < 3 and sentence.count(topic.noun) < 2 for sentence in plain_text)
        and all(len(re.findall(r" (?:that|which|who|whose) ", sentence)) < 2 for sentence in plain_text)
        and sum(first == second for first, second in zip(subjects, subjects[1:], strict=False)) < 2
    )


def indefinite(text: str) -> str:
    """Turn each a~ into a or an, by the sound of the next word."""

    def article(match: re.Match[str]) -> str:
        vowel = re.match(r"(?!uni|use|usu|eu|one\b|Uru|Ukr|uk)[aeiou]|hour|hon|8|1[18]\b", match[2], re.IGNORECASE)
        return f"{match[1]}{'n' if vowel else ''} {match[2]}"

    return re.sub(r"\b([aA])~ (\S+)", article, text)


def finished(sentences: Sequence[str], values: Sequence[str]) -> str:
    """Fill in the values, choose the articles, add capitals and full stops."""
    filled = [indefinite(re.sub(r"<(\d)>", lambda mark: values[int(mark[1])], one)) for one in sentences]
    return " ".join(f"{one[0].upper()}{one[1:]}." for one in filled)


def record(rng: Random, domain: Domain) -> Description:
    """Draw one description of the domain.

    Raises: Misfit if no good text comes of the drawn facts.
    """
    name, pronoun = domain.names(rng)
    noun = rng.choice(domain.nouns)
    drawn = rng.sample(domain.fields, min(rng.choice(NUM_FACTS), len(domain.fields)))
    values = [name, *(one.values(rng) for one in drawn)]
    labels = [rng.choice(domain.labels), *(rng.choice(one.labels) for one in drawn)]
    with_noun = rng.random() >= NO_KIND
    facts = [Fact(field=one, mark=f"<{index}>") for index, one in enumerate(drawn, 1)]
    mark = "the <0>" if domain.article else "<0>"
    topic = Topic(domain=domain, noun=noun, pronoun=pronoun, name=mark, short=name.split()[-1])
    fields = list(zip(labels, values, strict=True))
    if with_noun:
        role = ("occupation", "profession", "role", "is a") if topic.who else ("type", "kind", "class", "is a")
        fields.insert(rng.choice((0, 1, 1, 1, 1, len(fields))), (rng.choice(role), noun))
    if rng.random() < 0.1:
        rng.shuffle(fields)
    if len({label: 0 for label, _ in fields}) < len(fields) or len({value: 0 for _, value in fields}) < len(fields):
        raise Misfit
    for _ in range(DRAFTS):
        try:
            sentences = draft(rng, topic, facts, with_noun)
        except Misfit:
            continue
        text = finished(sentences, values)
        if (
            MIN_WORDS <= len(text.split()) <= MAX_WORDS
            and all(value in text for _, value in fields)
            and all(f"<{index}>" in " ".join(sentences) for index in range(len(values)))
            and not re.search(r"(?:^|\. )[^A-Za-z]", text)
            and reads_well(sentences, topic)
        ):
            return Description(domain=domain.name, fields=tuple(fields), text=text)
    raise Misfit


def descriptions(rng: Random) -> Iterator[Description]:
    """Yield descriptions of all domains without end."""
    while True:
        try:
            yield record(rng, rng.choice(DOMAINS))
        except Misfit:
            continue


# --- prose ------------------------------------------------------------------------------------------------------


def tables(text: str) -> dict[str, tuple[str, ...]]:
    """Read lines "key : a / b / c"; an indented line continues the one before."""
    lines = (line.split(" : ") for line in joined(text))
    return {key: tuple(words.split(" / ")) for key, words in lines}


WORDS = tables("""
thing : umbrella / notebook / silver watch / pair of glasses / red scarf / purse / violin / diary / torch / wallet /
  leather bag / phone / hammer / blue hat / whistle / compass / ring / toolbox / letter / key / camera / raincoat
spot : under the bed / behind the sofa / in the garden shed / on top of the fridge / beneath a pile of newspapers /
  inside an old boot / between two cushions / in the pocket of a winter coat / on the window sill / in the washing
  machine / at the bottom of a basket / under the kitchen table / behind the curtains
finder : the dog / a neighbour / the youngest child / the postman / {his} sister / a cleaner / the cat / an uncle
food : bread / soup / rice / apples / pancakes / cheese / beans / porridge / noodles / plums / potatoes / salad
animal : fox / donkey / goose / hare / mouse / crow / tortoise / hedgehog / squirrel / goat / frog / wolf / otter
trait : proud / lazy / clever / greedy / shy / careless / boastful / patient / curious / stubborn / timid / vain
sky : rainy / cloudy / foggy / stormy / sunny / windy / frosty / mild / chilly / warm / grey / bright
day : Monday / Tuesday / Wednesday / Thursday / Friday / Saturday / Sunday
season : spring / summer / autumn / winter
kin : sister / brother / cousin / aunt / uncle / grandmother / grandfather / niece / nephew / daughter / son
job : nurse::looks after sick people::patience / carpenter::makes doors and shelves::a steady hand / teacher::explains
  fractions to noisy children::a loud voice / baker::gets up at three to knead dough::strong arms / vet::treats cats,
  cows and parrots::calm nerves / electrician::repairs wires and lamps::great care / tailor::sews suits and
  dresses::sharp eyes / gardener::plants hedges and prunes roses::warm gloves / courier::carries letters up steep
  stairs::good shoes / journalist::asks questions and writes reports::curiosity / plumber::mends leaking pipes::a dry
  sense of humour / translator::turns long contracts into plain English::thick dictionaries / firefighter::puts out
  fires and rescues cats::courage / judge::listens to both sides::a clear head / bus driver::drives the same route
  eleven times a day::endless patience / sailor::hauls wet ropes all day long::a strong back
skill : play the trumpet::the sound was terrible::a whole tune / swim::the water got into every ear::ten lengths /
  knit::the wool was full of knots::a pair of socks / speak Spanish::the verbs made no sense::a long conversation /
  ride a horse::the saddle felt too high::a gallop across the field / juggle::the balls rolled under the
  cupboard::four oranges / bake bread::the loaf was as hard as stone::a soft brown loaf / draw faces::every nose
  looked like a potato::a good likeness / type without looking::each line was full of mistakes::sixty words a minute /
  play chess::the queen was lost after five moves::a game against the champion / sail::the boat turned in circles::a
  straight course / dance the waltz::both feet went the wrong way::a whole evening of dancing / repair clocks::three
  wheels were left over::an old clock that ticks
cause : it rained all night::the cellar was full of water::borrow a pump / the alarm did not ring::everybody got up
  late::skip breakfast / the road was covered with ice::the school bus could not leave::walk / the battery was
  empty::the radio fell silent::sing a few songs / nobody watered the tomatoes::the leaves turned yellow::plant
  new ones / the wind blew down a tree::the lights went out::light candles / the milk was left in the sun::it turned
  sour::drink water / the window stayed open::a sparrow flew into the bedroom::fetch a ladder / the printer ran out of
  ink::the report came out pale pink::write everything by hand / the dog ate the sausages::there was only cabbage for
  supper::peel a few carrots / the washing machine leaked::the carpet was soaked::call a plumber / the teacher lost
  her voice::the pupils had to whisper too::use the blackboard / the map was forty years old::half of the roads were
  missing::ask for the way / the oven was too hot::the biscuits were burnt::start again from the beginning / the train
  was delayed::the guests arrived after dark::wait with the soup / the price of coffee rose::many people drank
  tea::count every bean / the key broke in the lock::nobody could get in::climb through the window / the bees escaped
  from their hive::the whole street hid indoors::call the keeper / a pipe froze in the night::there was no water for
  tea::melt some snow / the goat got loose::the cabbages were eaten::build a higher fence / the fuse blew during
  supper::they had to eat in the dark::look for matches / somebody mixed up the labels::the jam tasted of onions::open
  all the jars / the river rose by two metres::the ferry stayed in the harbour::wait until the next day / the cook
  caught a cold::the soup had no taste::add more salt / the screws were too short::the shelf came down::buy longer
  ones / the snow melted early::the skis remained in the cellar::go hiking instead
remedy : start earlier / take a better map / listen to the forecast / wear thicker socks / bring more food / choose a
  shorter route / stay at home / ask someone who knows the way / pack fewer things
how : clean a window::fill a bucket with warm water::add a little soap::rub the glass with a soft cloth::dry it with
  old newspaper::sunshine, because the soap dries too fast / plant a bean::fill a pot with soil::press the seed in as
  deep as your thumb::water it gently::put the pot in a light corner::frost / wrap a parcel::lay the paper on a flat
  table::put the box in the middle::fold the long sides over it::fix the ends with tape::sharp edges / change a
  tyre::park on firm ground::loosen the nuts a little::lift the car with the jack::swap the wheels::soft sand under
  the jack / make a paper boat::fold the sheet in half::bend the corners to the middle::turn up the lower edges::pull
  the sides apart::wet paper / iron a shirt::read the label::begin with the collar::go on with the sleeves::finish
  with the back::a hot iron on silk / sharpen a knife::wet the stone::hold the blade at a low angle::push it slowly
  away from you::turn it over after ten strokes::your fingers / boil an egg::bring the water to the boil::lower the
  egg in with a spoon::wait for six minutes::rinse it with cold water::cracks in the shell / sew on a button::choose a
  thread of the same colour::tie a knot at the end::go through each hole four times::wind the thread round below the
  button::needles left on chairs / send a letter::write the address clearly::fold the page twice::close the
  envelope::stick on a stamp::the wrong postcode / wash a dog::brush out the knots::fill the tub with lukewarm
  water::rub in the shampoo::rinse until the water is clear::soap in its eyes / light a stove::open the flap::lay thin
  sticks on paper::strike a match::add thicker logs one by one::smoke in the room
what : thermometer::a device that measures heat::the liquid inside expands when it gets warm / lever::a stiff bar that
  turns on a fixed point::a small push at the long end lifts a heavy load at the short one / volcano::an opening in
  the crust of the earth::melted rock rises through it under great pressure / pump::a machine that moves water or
  air::a piston sucks it in and then pushes it out / dictionary::a book that lists words::the words stand in
  alphabetical order / rainbow::an arc of colours in the sky::drops of water split the sunlight / magnet::a piece of
  metal that attracts iron::tiny regions inside it all point the same way / lens::a curved piece of glass::it bends
  rays of light to one point / battery::a store of electric energy::two metals react with an acid / glacier::a slow
  river of ice::snow is pressed together year after year / heart::a muscle that drives blood round the body::four
  chambers open and close in turn / budget::a plan for spending money::income is set against costs / fossil::the trace
  of a creature from long ago::mud covers it and hardens to rock / tide::the daily rise and fall of the sea::the moon
  pulls at the water / vaccine::a medicine that prevents an illness::it trains the body to know the enemy / echo::a
  sound that comes back::a hard wall throws it towards the listener / yeast::a tiny living thing that makes dough
  rise::it turns sugar into gas
claim : children should learn to cook::they will need it all their lives::school is long enough already / letters are
  better than phone calls::one can keep them::they take far too long / everyone should keep a pet::animals teach us to
  care::flats are often too small / work should start at ten::many people sleep badly::the evening would be gone /
  cars ought to be banned from the inner city::the air would be cleaner::old people need them / homework is
  useless::it makes pupils tired::practice makes perfect / old films are better than new ones::the stories are
  stronger::the pictures are blurred / we should eat less meat::it is good for the climate::vegetables are boring /
  every child should learn an instrument::music trains the memory::lessons cost a fortune / money cannot buy
  happiness::the rich complain as well::debts make nobody cheerful
problem : the computer::it keeps switching itself off::the fan is full of dust / the bicycle::it squeaks at every
  turn::the chain needs oil / the radiator::it stays cold::there is air in the pipes / the piano::it sounds out of
  tune::the room is too damp / the cake::it never rises::the baking powder is old / the cat::it refuses to eat::the
  bowl smells of soap / the door::it will not close::the wood has swollen / the lamp::it flickers all evening::the
  bulb is loose / the clock::it loses ten minutes a day::the spring is worn / the roof::it drips on the stairs::two
  tiles are broken / the car::it does not start::the tank is empty / the kettle::it takes for ever::there is chalk
  inside
goods : apples / pencils / stamps / eggs / marbles / tickets / buttons / candles / stickers / books / coins / shells
feeling : happy / tired / proud / nervous / relieved / surprised / lonely / hopeful / grateful / cross / calm /
  excited
pastime : painting / hiking / gardening / reading detective stories / cooking / cycling / playing cards / dancing /
  fishing / collecting minerals / writing poems / building model planes / singing / watching old films / skating
gift : a jar of honey / a woollen blanket / a book about stars / a box of paints / a basket of pears / a kite / two
  theatre tickets / a chess set / a pair of slippers / a small cactus / a fountain pen / a puzzle of 500 pieces
saying : he who hurries falls twice / a small friend is better than a great enemy / what you borrow you must return /
  good advice costs nothing / pride makes deaf / many hands lift a heavy stone / a promise is a debt / sharing makes
  the bread taste better / those who listen learn / an honest word lasts longest
gear : a rope / a map / sandwiches / warm socks / matches / bandages / a tent / a water bottle / a torch / spare
  batteries / a knife / a sleeping bag / raincoats / a compass / dry wood / a whistle
sight : a herd of deer / a rainbow / two eagles / a frozen waterfall / a field of poppies / an empty boat / a badger's
  den / footprints in the mud / a meteor / a nest with four eggs / a snake asleep in the sun
vehicle : van / old lorry / sledge / canoe / bicycle / motorbike / sailing boat / tractor / hot-air balloon / cart
quality : taller / older / faster / stronger / quieter / more careful / more cheerful / more patient / luckier / wiser
team : gardeners / beginners / night workers / young parents / volunteers / singers / pupils / engineers / drivers
gadget : a folding ladder / a self-stirring pot / an umbrella with a lamp / a pen that writes under water / a silent
  alarm clock / a bicycle for three / a lock without a key / shoes with springs / a machine that peels oranges / a
  kite that carries letters / a stove that burns old paper / a bed that folds into a box
elder : mother / father / uncle / aunt / grandmother / grandfather
glad : happy / glad / pleased / delighted / proud / grateful / cheerful / relieved
""")
"""Tables of the prose; :: divides the parts of an entry, {x.0}, {x.1} ..."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("lost and found", """
[On {day} morning|Last {season}|One {sky} afternoon|Yesterday|A week ago], {A} [noticed|found out|discovered] that {his} {t=thing}
  was [gone|missing|nowhere to be seen].
[{He} had used it only {n=small} hours before|It had been a present from {his} {k=kin}|It was not worth much, but {he} loved it],
  so {he} was [rather upset|quite worried|determined to find it].
[First {he} searched the kitchen, then the hall and finally the bedroom|{He} emptied every drawer and looked behind every
  door|{He} asked everybody in the house, but nobody had seen it].
?["When did you last have it?" asked {B}. "I cannot remember," said {A}|"Things do not simply vanish," said {B}. "Let us look
  together."].
[In the end|At last|After {n2=small} hours|Just before supper], {f=finder} [found|discovered|came across] it {s=spot}.
[{A} was so {x=glad} that {he} [laughed aloud|baked a cake|danced through the room]|From that day on, {he} always put it back in
  its place|Nobody ever learned how it had got there].
"""),
    ("letter", """
Dear {B},
[thank you for your letter of {date}|thank you very much for {g=gift}|I am sorry that I have not written for so long|I hope that
  you are well, and so is your {k=kin}]. [It made me very {x=glad}|It came at the right moment|I think of you often|Time flies].
[Here in {town}, the weather is {s=sky}, and|We have moved to {town}, where|I am spending the {q=season} in {country}, and] [I
  spend most of my time {p=pastime}|we go {p2=sport} every {d=day}|my {k2=kin} is teaching me to cook].
?[Last {d2=day}, {c=cause}, so {c.1}. We had to {c.2}|My {k3=kin} has become a~ {j=job} and {j.1}|Our dog is now {n=small} years
  old and still chases every ball].
[Will you come and see us in {month}|Can you send me the address of {C}|Do you still have my {t=thing}|What are your plans for
  {month}]? [There is a bed for you and plenty of {f=food}|Please let me know before the {n3=day_number}|I would be so {x2=glad}
  to hear from you].
[With love|With best wishes|Yours|Many greetings], {A}.
"""),
    ("diary", """
[{day}, {date}|{date}, a~ {s=sky} day|{day} evening]. [Got up at [six|seven|half past eight|five] and felt {x=feeling}|Slept badly
  and woke up before dawn|A long day is over, and I am {x=feeling}].
[In the morning|Before breakfast|At nine], I [wrote two letters|cleaned my {t=thing}|ate {f=food} with {B}|helped {B} in the
  garden|fed the hens].
Then [{c=cause}, and {c.1}|{B} called to say that {c=cause}, so that {c.1}]. [We decided to {c.2}|There was nothing to do but
  {c.2}|In the end we had to {c.2}].
?[After lunch I practised, for I want to learn to {k=skill}|In the afternoon I read {m=small_pages} pages of a book on
  {u=subject}|Later my {i=kin} came to tea and talked about {u=subject}].
?[Spent {money} on {f2=food} and {f3=food}|Must not forget to buy {f2=food} and {g2=goods}|The news spoke of {u2=topic}].
[To bed at [ten|eleven|midnight]|Tomorrow will be better|So ends the {n=day_number} of the month|I wonder what tomorrow will
  bring].
"""),
    ("explanation", """
[What is a~ {w=what}|What do we mean by a~ {w=what}|Do you know what a~ {w=what} is]? [A~ {w} is|Put simply, it is|In plain words,
  it is] {w.1}. [It works like this:|The idea is simple:|The reason is easy to see:|What happens is this:] {w.2}.
[{A}, who teaches {u=subject}, shows it to every new class|The {nation} scholar {A} described it {n=dozens} years ago|People knew
  this long before anyone could explain it|My {k=elder} explained it to me when I was {n=child_age}].
[A good teacher begins with a question|At first, nobody believes it|It sounds harder than it is]: [how could one prove it at
  home|where do we meet it in daily life|what would happen without it]? [There is no single answer|You can find the answer
  yourself|The answer fills whole books], [but a simple test helps|and that is the beauty of it|though children often guess it at
  once].
"""),
    ("shopping talk", """
"[What do we need for supper|What shall I bring|Is there anything left in the larder]?" asked {A}. "[We still have|We have enough]
  {f=food}," [said|answered|replied] {B}, "but we have run out of {f2=food}."
"[How much|How many packets] shall I get?" "[A kilo|Two bags|Half a kilo|Just a little]," said {B}. "And please bring {n=small}
  {g=goods} for my {k=kin}."
{A} [wrote it on a piece of paper|counted the money|put on {his} coat]. "[I have only {money}|It is already late|It is {s=sky}
  outside]," {he} said. "[Then leave out the {f2}|Then take the bicycle|Then hurry up]," [laughed|said|called] {B}.
[Half an hour later|When {he} came back], [{he} had forgotten the {f2}|the bag was torn|everything was there except the {g}].
  "[Never mind|It does not matter|That happens to me too]," said {B}.
"""),
    ("repair talk", """
"[Can you help me|Have you got a minute|Could you have a look]?" asked {A}. "[There is something wrong with|I am having trouble
  with|I do not understand] {p=problem}. {p.1:cap}."
"[How long has this been going on|When did it start|Since when]?" [said|asked] {B}. "[For {n=small} days|Since {d=day}|Since last
  {s=season}]," [answered|said|sighed] {A}.
{B} [took a torch and bent down|thought for a moment|fetched a screwdriver and a cloth]. "[I see|Just as I thought|No wonder],"
  {bhe} said. "{p.2:cap}. [It is easy to put right|That will take {n2=small} minutes|You should have told me earlier]."
[Soon everything was in order|It took them the whole evening|By {n3=small} o'clock the work was done], and {A} [invited {bhim} to
  supper|paid {bhim} {money}|thanked {bhim} warmly|gave {bhim} {g=gift}].
"""),
    ("instructions", """
[Do you want to {h=how}? It is easier than you think|Here is how to {h=how}|Anybody can learn to {h=how}|{A} showed me how to
  {h=how}|It is not difficult to {h=how}].
[First|To begin with|Before anything else], {h.1}. [Then|Next|After that], {h.2}. [When this is done|Now|As soon as you are
  ready], {h.3}. [Finally|Last of all|In the end], {h.4}.
[Beware of|Watch out for|The greatest danger is] {h.5}. [The whole job takes about {n=small} minutes|With some practice, you will
  need {n=small} minutes|Allow yourself at least {n=small} minutes].
?[{A} from {town} has done it {m=dozens} times and [still enjoys it|never failed|says that patience is everything]|If it does not
  work, simply try once more|Ask a friend to hold the other end|Children should not do this alone].
"""),
    ("cause and effect", """
[Because|Since|As] {c=cause}, {c.1}. [That was bad news for|This did not please|Nobody was more annoyed than] {A}, who had
  [invited {n=small} guests|planned a quiet day|promised to help {B}|wanted to leave early].
[{He} tried to|So {he} decided to|{B} advised {him} to] {c.2}, [but this did not help at once|and, to everyone's surprise, it
  worked|which took longer than expected].
[Meanwhile|At the same time|To make things worse], {c2=cause}. [As a result|Therefore|For this reason|So], {c2.1}. [If they had
  been more careful, it would not have happened|One thing leads to another|It was nobody's fault|Such days are hard to forget].
[In the evening, they sat together and ate {f=food}|"Next time we shall {c2.2}," said {A}|{A} went to bed early|A day later,
  everything was forgotten|Still, {he} felt {x=feeling}].
"""),
    ("fable", """
[Once upon a time|Long ago|In a time before clocks|Many years ago], there lived a~ {t=trait} {a=animal} and a~ {t2=trait}
  {a2=animal}. [They shared a hollow tree|They were neighbours|They met every evening beside a stream].
One {s=sky} day, the {a} said: "[I have found {f=food}. Shall we divide it|I can run faster than you. Do you want to race|Winter
  is coming. Have you gathered enough {f=food}|I am going on a journey. Will you guard my house]?" "[Gladly|Why not|Of course|If
  you insist]," [answered|replied] the {a2}.
But [the {a} wanted everything for itself|the {a2} fell asleep in the shade|while they were talking, a~ {a3=animal} came along and
  took the food|the {a} broke its word the very next morning]. [Soon both were hungry|In the end there was nothing left|The {a2}
  said nothing and walked away|They quarrelled until the moon rose].
[From this we learn that|So it is true that|The old people say that|The moral is that] {y=saying}.
"""),
    ("comparison", """
{A} and {B} are [neighbours|colleagues|cousins|old friends|twins], [but they could not be more different|and people often mix them
  up|yet they hardly ever agree]. {A} is {n=older} years old, while {B} is {m=younger}.
{A} is the {q=quality} of the two, [although|though|even if] {B} [would never admit it|tries hard|does not believe it]. [One
  loves|One spends every weekend] {p=pastime}; the other [prefers|is fond of] {p2=pastime}.
[In the morning|At breakfast|For lunch], {A} [always|usually|often] eats {f=food}, whereas {B} [cannot live without|would rather
  have|is content with] {f2=food}. [Neither of them|Only one of them] [likes {s=sky} weather|can swim|owns a car|speaks
  {l=language}].
?[What they share is a love of {p3=pastime}|Last year, they travelled to {country} together|When {c=cause}, they both laughed|They
  meet every {d=day} and talk for hours].
"""),
    ("arithmetic", """
{A} has {n=num1} {g=goods}, and {B} has {m=num2}. [Together they have|That makes|So there are] {sum=sum} {g}. [Then|A little
  later|The next day], {C} [brings|gives them|finds] {k=num3} more, so that [there are now|they have] {total=total}.
[How many {g} does each get if the three share them|Is that enough for the whole class|Would you have known|Can you work it out
  without a pencil]? [Let us think|It is not hard|{B} knew it at once|{C} had to count on {chis} fingers].
?[{A} has {more} than {B}|Without {C}, there would only be {sum}].
[One of the {g} costs {money}|They keep the {g} in a {v=box}|The {g} are [red|blue|green] and [yellow|white|black]|{A} bought the
  {g} last {d=day}]. ["Numbers never lie," says {B}|"I prefer stories to sums," says {C}|"That was easy," says {A}].
"""),
    ("outing", """
[On {date}|One {s=sky} {d=day}|At the end of {month}], {A}, {B} and {C} [set out|left home|started] [by {v=transport}|on foot|with
  a~ {v=vehicle}]. They [carried|had packed|took along] {e=gear}, {e2=gear}, {e3=gear} and {f=food}.
[After {n=small} hours|After {n=small} miles|Around noon], they saw {i=sight}. "[Look|Stop|Be quiet]!" [whispered|cried|said] {A}.
  "[I have never seen anything like it.|Who has a camera?|It is beautiful.]"
[Suddenly|Then, without warning,|A moment later] [the sky turned dark and it began to hail|the path ended|a cold wind rose|{B}
  slipped and hurt {bhis} knee|they heard a strange noise], so they [rested under a rock|turned back|sang to keep up their
  spirits|put up the tent].
[In the evening|By nightfall|When they finally got home], [they were wet, tired and {x=feeling}|{C} cooked {f2=food} for
  everybody|each of them told the story in a different way]. [They would do it again|It was a day to remember|Next time they will
  {r=remedy}].
"""),
    ("learning", """
When {A} was {n=child_age}, {he} wanted to learn to {k=skill}. [At first|In the beginning|During the first week], {k.1}. [{His}
  {i=elder} laughed|The neighbours complained|"Give it up," said {his} {i=elder}|Only {B} believed in {him}].
But {A} [did not lose heart|was stubborn|practised every day|kept trying]. [Each evening|Before school|Every {d=day}], {he} worked
  for [one hour|two hours|half an hour|forty minutes]. [A patient teacher, {B},|An old friend, {B},|{B}] [corrected {his}
  mistakes|showed {him} a useful trick|told {him} not to hurry|cheered {him} up].
[Slowly|Little by little|Month after month], {he} [improved|made progress|grew more sure]. [After {y=small} years|By the following
  {s=season}|At the age of {z=grown}], {he} managed {k.2}.
[Today {he} teaches others|"If I can do it, anyone can," {he} says|{He} has been {x=glad} ever since|Now {he} wants to take up
  {p=pastime}].
"""),
    ("work", """
{A} is a~ {j=job}. Every day, {he} {j.1}. [The work begins at {n=small} in the morning|It is hard work|{He} has done this for
  {m=dozens} years], [and one needs {j.2}|but all it takes is {j.2}|so {j.2} is more important than a diploma].
[What does {he} like best|Why did {he} choose this job|Is {he} content]? "[No two days are the same|People smile at me|I am my own
  master|My {k=elder} did the same work]," {he} [says|explains|answers].
[Once|Last {s=season}|In {his} first week], {c=cause}, and {c.1}. [{He} had to {c.2}|Luckily, {B} was there to help|{A} still
  laughs about it]. {He} earns {wage} a month [and saves a third of it|, which is not a lot|and is content with it].
[In {his} free time, {he} enjoys {p=pastime}|After work, {he} is often too tired for {p=pastime}|When {he} retires, {he} will have
  more time for {p=pastime}].
"""),
    ("opinion", """
[Some people think|Many say|It is often said|{A} is convinced] that {c=claim}. [Their reason is that|After all,|For one
  thing,|They argue that] {c.1}. [Others|Their opponents|People like {B}] [disagree|see it differently|shake their heads]. [In
  their view,|They point out that|According to them,] {c.2}.
[Who is right|What should one believe|Is there a middle way]? [In a survey of {n=hundreds} people|Among {n=hundreds} {t=team} who
  were asked], {percent} [agreed|were in favour|said yes], {percent2} [were against it|said no] and the rest [had no opinion|did
  not answer].
[Perhaps both sides are partly right|I used to think so too, but I have changed my mind|On the whole, I agree with the first
  group|We shall hear more about it], [because nobody has all the facts|for nothing is ever quite so simple|and nobody should
  decide for others|but a good argument does no harm].
"""),
    ("family", """
[In the family of {A} there are {n=small} people|{A} comes from a large family|{A} lives with {n=small} relatives in {town}].
  {His} {bkin}, {B}, is a~ {j=job} and {j.1}; {his} {ckin}, {C}, [is still at school|studies {u=subject}|has just turned
  {m=older}|sells {g=goods}].
[Every {d=day}, they eat {f=food}, {f2=food} and {f3=food}|At the weekend, they all go in for {p=pastime}|In {month}, they travel
  to {country}]. [Nobody is allowed to|You must never] [talk about money at table|wake the cat|touch the {t=thing}|sit in
  grandfather's chair].
[There is always something going on|It is seldom quiet|They do not always agree]: [yesterday, {c=cause}, and {c.1}|last
  {s=season}, {B} lost {bhis} {t2=thing} and found it {o=spot}|this week, {C} is learning to {l=skill}]. [But when one of them is
  ill, all the others help|Still, {A} would not change places with anyone|{A} is {x=glad} when everyone is at home].
"""),
    ("invention", """
[In {year}|More than {m=dozens} years ago|At the age of {z=grown}], {A}, a~ {nation} {j=job}, invented {i=gadget}. [{He} had
  noticed that|The idea came when] {c=cause}, so that {c.1}. [There must be a way to stop this, {he} thought|Why should that
  happen again, {he} asked {himself}|Something had to be done].
[The first model|The earliest version] was made of {y=metal} and weighed {n=small} kilos. [It broke after {n2=small} minutes|It
  did not work at all|It made a terrible noise], but the {n3=ordinal} was [a success|far better|good enough to sell]. [Each one
  cost {money}|The factory produced {h=hundreds} a week|Orders came from {country} and {country2}].
[{He} never became rich, because {B} had copied the plans|With the money, {he} bought {g=gift} for {his} {k=kin}|{His} partner,
  {B}, kept the accounts|Later, {he} sold the patent to {B}]. [Today, hardly anyone remembers it|People still use it|One of them
  still works].
"""),
    ("quiz", """
"[Here is a riddle|Guess this|I have a question]," said {A}. "[It is {w=what.1}. What is it|What do you call {w=what.1}]?" "[Is it
  alive|Can you eat it|Is it bigger than a~ {t=thing}]?" asked {B}. "[Not at all|I am not telling you|That is not the point],"
  said {A}.
{C} [raised {chis} hand|scratched {chis} head|smiled]. "[I know|That is easy|I have got it]! A~ {w}, of course, because {w.2}."
  "[Correct|Well done|Quite right]," said {A}. "[{n=small:cap} points for you! How did you know?|How did you find out?|How did you
  know?]"
"[I read it in a book on {u=subject}|My {k=elder} told me|I just guessed]," said {C}. [Then {chis} riddle was so hard that nobody
  could solve it|They went on until supper|{B} wanted to play something else, so they fetched the cards|Outside it was {s=sky}, so
  they played all afternoon].
"""),
    ("notice", """
[To all {t=team}|Important news for {t=team}|A message to the {t=team}]: [the meeting on {d=day} will begin at {n=small} o'clock
  instead of {n2=small2}|the course led by {A} has been moved to {d=day}, {date}|from {date} on, {A} will be in charge of the
  group].
The reason is that {c=cause}, so {c.1}. [We have had to {c.2}, but everything is in order again|The only thing to do was to
  {c.2}|Until further notice we have to {c.2}]. [Please bring {g=gear} and {g2=gear}|There will be {f=food} and {f2=food} for
  all|Those who come late must wait outside].
[Each member pays {money}|The fee of {money} includes {f3=food}|It costs nothing]. [If you have questions, ask {B}|{B} will answer
  your letters|For help, turn to {B} or {C}]. [There are {m=dozens} places left|Only {m=dozens} people can take part|So far,
  {m=dozens} people have signed up].
[We apologise for the trouble|Thank you for your patience|We look forward to seeing you], {A}.
"""),
    ("dream and plan", """
{A} has a plan. [Next {s=season}|In {month}|As soon as {he} has saved {wage}], {he} will [buy a~ {v=vehicle} and travel through
  {country}|learn to {k=skill}|give up {his} job as a~ {j=job}|write a book on {u=subject}].
[There are three things to do first|Before that, three things have to be done|{He} has made a list]: [find someone who waters the
  plants|sell the {t=thing}|talk to {his} {i=kin}], [learn {l=language}|mend the roof|repay {money} to {B}] and [buy {g=gift} for
  {B}|get a new passport|sleep for a week].
"[Are you serious|What if it goes wrong|Why do you not wait]?" asks {B}. "[If not now, then never|I have waited for {n=small}
  years|I am not afraid]," {he} [answers|replies|says]. "[Do you want to come along?|You can keep my {t2=thing}.|I shall write
  every {d=day}.]"
[Whether anything will come of it, no one knows|{B} is {x=glad} for {him}|Plans are cheap, but dreams keep us warm|{B} only smiles
  and goes back to {p=pastime}].
"""),
)  # fmt: skip
"""Name and template of each family. A line is a sentence or more, one with ? in front may be left out; [a|b] is a
choice; {key} is drawn from WORDS, MAKERS or the cast (A, B, C), {x=key} also keeps it as {x}."""

SMALL = tuple("two three four five six seven eight nine ten eleven twelve".split())
PROSE_MAKERS: dict[str, Values] = {
    "small": pick(*SMALL),
    "small2": pick("one", "half past one", "a quarter to one", "half past twelve"),
    "small_pages": number(20, 190, 1, ""),
    "sport": pick("swimming", "hiking", "sailing", "dancing", "skiing", "fishing", "running", "cycling"),
    "day_number": pick(*(f"{day}th" for day in range(4, 21))),
    "dozens": pick(*"twenty thirty forty fifty sixty seventy eighty 15 18 24 27 36 48".split()),
    "child_age": pick(*"six seven eight nine ten eleven twelve thirteen".split()),
    "grown": pick(*"eighteen twenty thirty forty fifty sixty 19 23 27 34 41".split()),
    "ordinal": pick("second", "third", "fourth", "fifth", "sixth"),
    "older": number(41, 80, 1, ""),
    "younger": number(16, 40, 1, ""),
    "hundreds": number(120, 980, 10, ""),
    "wage": money(900, 4800, 50, ("£", "$", "€")),
    "money": money(2, 90, 1, ("£", "$", "€")),
    "transport": pick("bus", "bicycle", "boat", "car", "train"),
    "language": pick(*"Danish Dutch French German Greek Hindi Italian Japanese Polish Russian Spanish Swahili".split()),
    "box": pick("tin", "drawer", "basket", "glass jar", "wooden box", "shoebox", "paper bag"),
    "year": lambda rng: str(rng.randrange(1790, 2000)),
    "country2": MAKERS["country"],
}


KIN_B = {"he": ("brother", "uncle", "father", "grandfather"), "she": ("sister", "aunt", "mother", "grandmother")}
KIN_C = {"he": ("cousin", "nephew", "eldest son"), "she": ("cousin", "niece", "youngest daughter")}


def cast(rng: Random) -> dict[str, str]:
    """Draw the people A, B and C of a paragraph with their pronouns, and numbers that add up."""
    words: dict[str, str] = {}
    surnames = rng.random() < 0.3
    firsts: list[str] = []
    for letter in "ABC":
        name, pronoun = gendered(rng)
        while name.split()[0] in firsts:
            name, pronoun = gendered(rng)
        firsts.append(first := name.split()[0])
        words[letter] = name if surnames and letter == "A" else first if rng.random() < 0.7 else CAPITAL(rng)
        ref, key = PRONOUNS[pronoun], letter.lower() if letter != "A" else ""
        words |= {f"{key}he": ref.he, f"{key}him": ref.him, f"{key}his": ref.his, f"{key}himself": f"{ref.him}self"}
    words |= {"He": words["he"].capitalize(), "His": words["his"].capitalize()}
    few, more, extra = rng.randrange(3, 30), rng.randrange(2, 30), rng.randrange(2, 30)
    words |= {"num1": str(few + more), "num2": str(few), "num3": str(extra), "sum": str(2 * few + more)}
    words["bkin"] = rng.choice(KIN_B[words["bhe"]])
    words["ckin"] = rng.choice(KIN_C[words["che"]])
    share = rng.randrange(31, 58)
    words |= {"percent": f"{share}%", "percent2": f"{rng.randrange(11, 98 - share)}%"}
    return words | {"total": str(2 * few + more + extra), "more": f"{more} more"}


def chosen(rng: Random, template: str) -> str:
    """Take one of the options of every [a|b], from the inside out."""
    while "[" in template:
        template = re.sub(r"\[([^\[\]]*)\]", lambda options: rng.choice(options[1].split("|")), template)
    return template


def filled(rng: Random, template: str) -> str:
    """Fill every {key}, {x=key} and {x.1}; no entry of a table comes twice."""
    known = cast(rng)
    used: dict[str, int] = {}

    def draw(key: str) -> str:
        if key in known:
            return known[key]
        if key not in WORDS:
            return (PROSE_MAKERS.get(key) or MAKERS[key])(rng)
        entry = rng.choice(WORDS[key])
        while entry in used:
            entry = rng.choice(WORDS[key])
        used[entry] = 0
        return entry

    def fill(match: re.Match[str]) -> str:
        name, key, part, form = match.groups()
        if key:
            known[name] = draw(key)
        parts = (known[name] if name in known else draw(name)).split("::")
        text = parts[int(part or 0)]
        return text[0].upper() + text[1:] if form else text

    while "{" in template:
        template = re.sub(r"\{(\w+)(?:=(\w+))?(?:\.(\d))?(:cap)?\}", fill, template)
    return template


def paragraph(rng: Random) -> str:
    """Draw one paragraph."""
    lines = joined(rng.choice(FAMILIES)[1])
    template = " ".join(line.removeprefix("?") for line in lines if line[0] != "?" or rng.random() < 0.5)
    text = indefinite(filled(rng, chosen(rng, template)))
    text = re.sub(r" +([,.])", r"\1", re.sub(r" +", " ", text))
    text = re.sub(r"([.?!:]\"?)\.(?= |$)", r"\1", text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda start: start[1] + start[2].upper(), text)


def prose(rng: Random) -> Iterator[str]:
    """Yield paragraphs without end."""
    while True:
        text = paragraph(rng)
        if MIN_PROSE <= len(text.split()) <= MAX_PROSE:
            yield text
