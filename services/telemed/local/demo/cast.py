"""The people of the demo. All invented; their addresses lie in example.com, which belongs to nobody (RFC 2606)."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True, slots=True)
class Region:
    """Where somebody lives: its IANA zone, its money, and about what a consultation costs there, in minor units."""

    time_zone: str
    currency: str
    usual_fee_minor: int


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """Somebody with an account."""

    full_name: str
    email: str


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """When a doctor sees patients, in wall time: from, to, the break between, and the weekdays (0 is Monday)."""

    opens: time
    break_from: time
    break_to: time
    closes: time
    weekdays: tuple[int, ...]
    minutes_per_visit: int


@dataclass(frozen=True, slots=True)
class DemoDoctor(DemoPerson):
    """A doctor with what their entry in the directory says."""

    number: int
    specialization: str
    region: Region
    languages: tuple[str, ...]
    fee_minor: int
    hours: OfficeHours
    years: int

    @property
    def registration_number(self) -> str:
        """Give a number that no register has."""
        return f"DEMO-{self.region.time_zone.split('/')[1].upper()}-{self.number:04}"

    @property
    def bio(self) -> str:
        """Give a few sentences for patients."""
        return f"{_FOCUS[self.specialization]} {self.years} years in practice."


KOLKATA = Region("Asia/Kolkata", "INR", 60_000)
BERLIN = Region("Europe/Berlin", "EUR", 5_500)
LONDON = Region("Europe/London", "GBP", 6_000)
MADRID = Region("Europe/Madrid", "EUR", 4_500)
NEW_YORK = Region("America/New_York", "USD", 9_000)
CHICAGO = Region("America/Chicago", "USD", 8_000)
SAO_PAULO = Region("America/Sao_Paulo", "BRL", 25_000)
NAIROBI = Region("Africa/Nairobi", "KES", 250_000)
SYDNEY = Region("Australia/Sydney", "AUD", 9_500)

_FOCUS = {
    "General Medicine": "Family doctor for everyday illness, check-ups and long-term conditions.",
    "Cardiology": "Heart rhythm, blood pressure and heart failure, with a second look at ECGs.",
    "Dermatology": "Eczema, acne and skin changes; photographs can be discussed during the visit.",
    "Pediatrics": "Newborns to teenagers: growth, vaccinations, infections and asthma.",
    "Psychiatry": "Depression, anxiety and sleep; talking first, medicine when it helps.",
    "Gynecology": "Contraception, menopause, and care before and during pregnancy.",
    "Orthopedics": "Knees, shoulders and backs, and the way back after an injury.",
    "Neurology": "Migraine, dizziness and epilepsy, follow-up after a stroke.",
    "Endocrinology": "Diabetes, thyroid and other hormones.",
    "Gastroenterology": "Reflux, irritable bowel, liver values.",
    "Pulmonology": "Asthma, COPD and cough that stays.",
    "Ophthalmology": "Dry eyes, glaucoma follow-up and diabetic eye checks.",
}

_EARLY = OfficeHours(time(8), time(11), time(13), time(15), (0, 1, 2, 3, 4), 30)
_DAY = OfficeHours(time(9), time(12), time(14), time(16), (0, 1, 2, 3, 4), 30)
_LATE = OfficeHours(time(11, 30), time(14), time(16), time(19), (0, 1, 3, 4, 5), 30)
_BRISK = OfficeHours(time(9, 30), time(11, 30), time(17), time(18, 40), (0, 1, 2, 3, 4, 5), 20)
_HOURS = (_DAY, _BRISK, _EARLY, _LATE)

# Name, specialization, region, languages. The first is the demo's doctor; the only dermatologist who speaks Marathi is
# the one whose slots the welcome's commands find.
_DOCTORS: tuple[tuple[str, str, Region, str], ...] = (
    ("Dr. Asha Rao", "General Medicine", KOLKATA, "en hi kn"),
    ("Dr. Vikram Deshpande", "General Medicine", KOLKATA, "en hi mr"),
    ("Dr. Thomas Brandt", "General Medicine", BERLIN, "de en"),
    ("Dr. Eleanor Whitcombe", "General Medicine", LONDON, "en"),
    ("Dr. Wanjiru Kamande", "General Medicine", NAIROBI, "en sw"),
    ("Dr. Luis Carvalho", "General Medicine", SAO_PAULO, "pt en"),
    ("Dr. Meera Subramanian", "Cardiology", KOLKATA, "en ta hi"),
    ("Dr. Arjun Malhotra", "Cardiology", KOLKATA, "en hi pa"),
    ("Dr. Katharina Vogel", "Cardiology", BERLIN, "de en"),
    ("Dr. Robert Castellano", "Cardiology", NEW_YORK, "en es"),
    ("Dr. Nandini Kulkarni", "Dermatology", KOLKATA, "en hi mr"),
    ("Dr. Faisal Siddiqui", "Dermatology", KOLKATA, "en hi ur"),
    ("Dr. Carmen Olmedo", "Dermatology", MADRID, "es en"),
    ("Dr. Grace Holloway", "Dermatology", SYDNEY, "en"),
    ("Dr. Priya Nambiar", "Pediatrics", KOLKATA, "en ml hi"),
    ("Dr. Sanjay Bhattacharya", "Pediatrics", KOLKATA, "en bn hi"),
    ("Dr. Lena Hartwig", "Pediatrics", BERLIN, "de en"),
    ("Dr. Achieng Odera", "Pediatrics", NAIROBI, "en sw"),
    ("Dr. Hannah Pruitt", "Pediatrics", CHICAGO, "en es"),
    ("Dr. Rohan Iyengar", "Psychiatry", KOLKATA, "en hi ta"),
    ("Dr. Shalini Chatterjee", "Psychiatry", KOLKATA, "en bn"),
    ("Dr. Oliver Penrose", "Psychiatry", LONDON, "en"),
    ("Dr. Beatriz Fontana", "Psychiatry", SAO_PAULO, "pt es"),
    ("Dr. Lakshmi Venkataraman", "Gynecology", KOLKATA, "en te hi"),
    ("Dr. Farah Qureshi", "Gynecology", KOLKATA, "en hi ur"),
    ("Dr. Ingrid Sommer", "Gynecology", BERLIN, "de en"),
    ("Dr. Alicia Navarrete", "Gynecology", MADRID, "es en"),
    ("Dr. Harpreet Gill", "Orthopedics", KOLKATA, "en hi pa"),
    ("Dr. Manoj Pillai", "Orthopedics", KOLKATA, "en ml"),
    ("Dr. Daniel Okonjo", "Orthopedics", LONDON, "en fr"),
    ("Dr. Kavita Joshi", "Neurology", KOLKATA, "en hi gu"),
    ("Dr. Steven Lindqvist", "Neurology", CHICAGO, "en"),
    ("Dr. Anand Krishnamurthy", "Endocrinology", KOLKATA, "en kn hi"),
    ("Dr. Marta Iglesias", "Endocrinology", MADRID, "es en"),
    ("Dr. Deepak Agarwal", "Gastroenterology", KOLKATA, "en hi"),
    ("Dr. Paula Monteiro", "Gastroenterology", SAO_PAULO, "pt en"),
    ("Dr. Usha Reddy", "Pulmonology", KOLKATA, "en te hi"),
    ("Dr. James Thornbury", "Pulmonology", SYDNEY, "en"),
    ("Dr. Sunita Ghosh", "Ophthalmology", KOLKATA, "en bn hi"),
    ("Dr. Miriam Feldstein", "Ophthalmology", NEW_YORK, "en fr"),
)

# Names and the languages in which they can speak to a doctor. The first is the demo's patient.
_PATIENTS = (
    ("en hi", "Rahul Verma"),
    ("en hi", "Ananya Sharma, Karthik Narayan, Pooja Mehta, Imran Khanna, Divya Menon, Suresh Patil, Neha Kapoor"),
    ("en hi", "Amit Saxena, Ritu Bansal, Gaurav Choudhary, Sneha Pandit, Varun Thakur, Kiran Shetty, Asif Mirza"),
    ("hi", "Geeta Devi, Ramesh Yadav, Savita Kumari"),
    ("en bn", "Moumita Sen, Arindam Dutta, Sourav Pal"),
    ("en ta te", "Revathi Sundaram, Prakash Rajan, Swathi Naidu, Bhaskar Rao"),
    ("de", "Jonas Weidmann, Petra Lorenz, Uwe Falkner"),
    ("de en", "Miriam Kessler, Felix Baumgart, Sabine Roth, Emil Strasser"),
    ("en", "Charlotte Ainsworth, Harry Pemberton, Amelia Fairclough, Noah Kirkwood, Isla Drummond, George Ellery"),
    ("en", "Emily Sandoval, Jacob Merriweather, Olivia Trask, Ethan Lockridge, Madison Greer, Tyler Vance"),
    ("es", "Lucía Barragán, Javier Montoro, Elena Quiroga"),
    ("es en", "Sofía Alcaraz, Mateo Villalba"),
    ("pt", "Camila Teixeira, Rafael Moura, Juliana Brandão"),
    ("pt en", "Thiago Siqueira, Larissa Pinheiro"),
    ("en sw", "Njeri Mwangi, Otieno Were, Amina Hassan, Kevin Kiptoo"),
    ("en", "Jack Ashdown, Ruby Calloway, Liam Hargrave"),
)


@dataclass(frozen=True, slots=True)
class DemoPatient(DemoPerson):
    """A patient, and the languages in which they can speak to a doctor."""

    languages: tuple[str, ...]


ADMIN = DemoPerson("Leela Fernandes", "admin@example.com")


def doctors() -> list[DemoDoctor]:
    """Give the doctors; the first is the one whom the demo's visitor can play."""
    return [_doctor(number, *row) for number, row in enumerate(_DOCTORS)]


def patients() -> list[DemoPatient]:
    """Give the patients; the first is the one whom the demo's visitor can play."""
    named = [(name.strip(), languages) for languages, names in _PATIENTS for name in names.split(",")]
    return [
        DemoPatient(name, "patient@example.com" if number == 0 else _address(name), tuple(languages.split()))
        for number, (name, languages) in enumerate(named)
    ]


def _doctor(number: int, full_name: str, specialization: str, region: Region, languages: str) -> DemoDoctor:
    # Fees differ from doctor to doctor, by a few steps around what is usual in the region.
    step = region.usual_fee_minor // 10
    return DemoDoctor(
        full_name=full_name,
        email="doctor@example.com" if number == 0 else _address(full_name.removeprefix("Dr. ")),
        number=number + 1,
        specialization=specialization,
        region=region,
        languages=tuple(languages.split()),
        fee_minor=region.usual_fee_minor + step * (number * 7 % 9 - 3),
        hours=_HOURS[number % len(_HOURS)],
        years=6 + number * 5 % 23,
    )


def _address(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]+", ".", ascii_name) + "@example.com"
