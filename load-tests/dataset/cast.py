"""Who the people of a data set are. All invented: first and last names put together by number, nobody's addresses.

Addresses lie in load.example.com, which belongs to nobody (RFC 2606); telephone numbers are those that the regulator
keeps for fiction (Ofcom, 07700 900000 to 900999).
"""

from dataclasses import dataclass

from telemed.local.demo.cases import CASES
from telemed.local.demo.cast import BERLIN, KOLKATA, LONDON, NAIROBI, NEW_YORK, SAO_PAULO, SYDNEY, Region

DOMAIN = "load.example.com"
# Everybody's, so that ten thousand accounts take one hash. Public, like the demo's: production refuses the generator.
PASSWORD = "forty lanterns over a quiet harbour"

_FIRST = (
    *("Aarav", "Abena", "Akira", "Alma", "Amara", "Anton", "Anjali", "Bruno", "Carla", "Chidi", "Clara", "Dalia"),
    *("Devi", "Diego", "Elif", "Emeka", "Esra", "Farid", "Freya", "Gita", "Hana", "Hugo", "Ines", "Ishaan", "Jana"),
    *("Joao", "Kaveh", "Kofi", "Lea", "Leon", "Lina", "Luca", "Maya", "Milan", "Mina", "Nadia", "Nikhil", "Noor"),
    *("Oskar", "Pilar", "Rania", "Ravi", "Rosa", "Samir", "Sara", "Tarek", "Tilda", "Uma", "Vera", "Wambui", "Yara"),
    *("Yusuf", "Zara", "Zoltan"),
)
_LAST = (
    *("Abara", "Acharya", "Albrecht", "Almeida", "Amari", "Bakshi", "Barros", "Bergmann", "Bhatt", "Castell", "Chavan"),
    *("Costa", "Dahl", "Desai", "Duarte", "Eze", "Falk", "Farouk", "Gomes", "Grewal", "Hamdi", "Hegde", "Hoffmann"),
    *("Ibarra", "Iqbal", "Jansen", "Kale", "Kamau", "Keller", "Kiran", "Lang", "Lobo", "Maina", "Marek", "Mishra"),
    *("Moreau", "Mutua", "Nair", "Navarro", "Nwosu", "Okafor", "Osei", "Pathak", "Pereira", "Quist", "Rahman", "Reis"),
    *("Rossi", "Saleh", "Sandhu", "Serra", "Sinha", "Soto", "Tanaka", "Usman", "Varga", "Wafula", "Yilmaz", "Zeller"),
)

# Where doctors work, how often among sixteen, from which hour on in UTC, and what they speak.
_REGIONS: tuple[tuple[Region, int, float, tuple[str, ...]], ...] = (
    (KOLKATA, 8, 3.5, ("en", "hi")),
    (BERLIN, 2, 7, ("de", "en")),
    (LONDON, 1, 8, ("en",)),
    (NEW_YORK, 2, 13, ("en", "es")),
    (SAO_PAULO, 1, 11, ("pt", "es")),
    (NAIROBI, 1, 5.5, ("en", "sw")),
    (SYDNEY, 1, 22, ("en",)),
)
_WORKPLACES = tuple((region, opens, languages) for region, often, opens, languages in _REGIONS for _ in range(often))
SPECIALIZATIONS = tuple(sorted(CASES))


@dataclass(frozen=True, slots=True)
class CastDoctor:
    """A doctor's entry in the directory, and the hour of the day, in UTC, at which work begins."""

    full_name: str
    specialization: str
    languages: tuple[str, ...]
    region: Region
    fee_minor: int
    registration_number: str
    opens_at_hour: float


def full_name(number: int) -> str:
    """Give the name of the person of this number; it comes again after some thousands, as names do."""
    return f"{_FIRST[number % len(_FIRST)]} {_LAST[(number // len(_FIRST) + number) % len(_LAST)]}"


def email(role: str, number: int, seed: int) -> str:
    """Give an address that another seed's people do not have."""
    return f"{role}.{number:07}.s{seed}@{DOMAIN}"


def phone(number: int) -> str:
    """Give a telephone number that rings nowhere."""
    return f"+447700900{number % 1000:03}"


def doctor(number: int) -> CastDoctor:
    """Give the doctor of this number: specializations and workplaces in turn, fees around what is usual there."""
    # One further after each round of both, so that every specialization comes to every workplace.
    region, opens, languages = _WORKPLACES[(number * 5 + number // 48) % len(_WORKPLACES)]
    return CastDoctor(
        full_name=f"Dr. {full_name(number * 7 + 3)}",
        specialization=SPECIALIZATIONS[number % len(SPECIALIZATIONS)],
        languages=languages,
        region=region,
        fee_minor=region.usual_fee_minor + region.usual_fee_minor // 10 * (number * 7 % 9 - 3),
        registration_number=f"LOAD-{number:07}",
        opens_at_hour=opens,
    )
