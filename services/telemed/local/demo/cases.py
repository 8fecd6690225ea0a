"""What brings the demo's patients to a specialist, and what they leave with. Plausible, and no medical advice."""

from dataclasses import dataclass
from datetime import date, timedelta

from telemed.consultation.prescriptions.schemas import IssuePrescription, PrescriptionItem


@dataclass(frozen=True, slots=True)
class Case:
    """One complaint and how the visit ends. *follow_up_days* is None when the patient need not come back."""

    reason: str
    diagnosis: str
    medicines: tuple[tuple[str, str, str, int], ...]  # medicine, dosage, frequency, days
    advice: str
    follow_up_days: int | None = None

    def prescription(self, *, on: date) -> IssuePrescription:
        """Give what the doctor prescribes on that day."""
        items = [
            PrescriptionItem(medicine=medicine, dosage=dosage, frequency=frequency, duration_days=days)
            for medicine, dosage, frequency, days in self.medicines
        ]
        follow_up_on = on + timedelta(days=self.follow_up_days) if self.follow_up_days is not None else None
        return IssuePrescription(diagnosis=self.diagnosis, items=items, advice=self.advice, follow_up_on=follow_up_on)


CASES: dict[str, tuple[Case, ...]] = {
    "General Medicine": (
        Case(
            "Fever and sore throat since the weekend", "Acute viral pharyngitis",
            (("Paracetamol 500 mg tablets", "1 tablet", "up to four times a day", 5),),
            "Rest and drink plenty. Call again if the fever lasts longer than three days.",
        ),
        Case(
            "Blood pressure readings at home are high", "Essential hypertension",
            (("Amlodipine 5 mg tablets", "1 tablet", "once a day, in the morning", 30),),
            "Write down your blood pressure twice a day and bring the list.", 28,
        ),
        Case(
            "Burning when passing water", "Uncomplicated urinary tract infection",
            (("Nitrofurantoin 100 mg capsules", "1 capsule", "twice a day, with food", 5),),
            "Drink at least two litres a day. Seek help at once with fever or back pain.",
        ),
    ),
    "Cardiology": (
        Case(
            "Palpitations in the evening", "Symptomatic premature beats",
            (("Metoprolol succinate 47.5 mg tablets", "1 tablet", "once a day", 30),),
            "Less coffee, regular sleep. An ECG over 24 hours has been requested.", 21,
        ),
        Case(
            "Check-up after heart failure was found", "Chronic heart failure, stable",
            (
                ("Ramipril 5 mg tablets", "1 tablet", "once a day", 60),
                ("Torasemide 10 mg tablets", "1 tablet", "once a day, in the morning", 60),
            ),
            "Weigh yourself every morning; call when you gain two kilograms in three days.", 60,
        ),
    ),
    "Dermatology": (
        Case(
            "Itching rash on both elbows", "Atopic eczema",
            (("Hydrocortisone 1 % cream", "a thin layer", "twice a day", 10),),
            "Moisturise several times a day, also when the skin looks well.", 21,
        ),
        Case(
            "Acne that does not go away", "Acne vulgaris, moderate",
            (("Adapalene 0.1 % / benzoyl peroxide 2.5 % gel", "a pea-sized amount", "once a day, at night", 84),),
            "Improvement takes six to eight weeks. Use sun protection.", 56,
        ),
    ),
    "Pediatrics": (
        Case(
            "Our daughter coughs at night", "Mild asthma",
            (("Salbutamol 100 micrograms inhaler with spacer", "2 puffs", "when needed", 30),),
            "Keep a diary of the cough. No smoking in the flat.", 28,
        ),
        Case(
            "Ear pain and fever", "Acute otitis media",
            (("Ibuprofen 100 mg / 5 ml suspension", "by weight, as discussed", "three times a day", 3),),
            "Come back if the pain is not better after two days.", 3,
        ),
    ),
    "Psychiatry": (
        Case(
            "I have not slept well for weeks", "Insomnia disorder",
            (("Melatonin 2 mg prolonged-release tablets", "1 tablet", "two hours before bedtime", 21),),
            "Get up at the same time every day. No screens in bed.", 21,
        ),
        Case(
            "Low mood and no energy", "Moderate depressive episode",
            (("Sertraline 50 mg tablets", "1 tablet", "once a day, in the morning", 30),),
            "The effect takes two to four weeks. Talking therapy has been suggested.", 14,
        ),
    ),
    "Gynecology": (
        Case(
            "Advice on contraception", "Counselling on contraception",
            (("Levonorgestrel 100 / ethinylestradiol 20 micrograms tablets", "1 tablet", "once a day", 84),),
            "Have your blood pressure measured after three months.", 84,
        ),
        Case(
            "Planning a pregnancy", "Counselling before pregnancy",
            (("Folic acid 400 micrograms tablets", "1 tablet", "once a day", 90),),
            "Bring your vaccination record to the next visit.",
        ),
    ),
    "Orthopedics": (
        Case(
            "Lower back pain after moving house", "Acute non-specific low back pain",
            (("Ibuprofen 400 mg tablets", "1 tablet", "up to three times a day, with food", 7),),
            "Stay active. Call at once with numbness or weakness in a leg.", 14,
        ),
        Case(
            "My knee swells after running", "Patellofemoral pain syndrome",
            (("Diclofenac 1 % gel", "4 g", "three times a day", 14),),
            "Six weeks of exercises for the thigh; swimming instead of running.", 42,
        ),
    ),
    "Neurology": (
        Case(
            "Headache with flickering lights twice a month", "Migraine with aura",
            (("Rizatriptan 10 mg tablets", "1 tablet", "at the onset of pain, at most twice in 24 hours", 30),),
            "Keep a headache diary.", 30,
        ),
        Case(
            "Dizzy when turning over in bed", "Benign positional vertigo",
            (("Betahistine 16 mg tablets", "1 tablet", "three times a day", 7),),
            "Do the repositioning exercise twice a day.", 14,
        ),
    ),
    "Endocrinology": (
        Case(
            "Sugar values are above target", "Type 2 diabetes mellitus",
            (("Metformin 1000 mg tablets", "1 tablet", "twice a day, with meals", 90),),
            "Measure before breakfast three times a week.", 90,
        ),
        Case(
            "Always tired, thyroid value was high", "Hypothyroidism",
            (("Levothyroxine 50 micrograms tablets", "1 tablet", "once a day, half an hour before breakfast", 56),),
            "Have the blood test repeated a week before the next visit.", 56,
        ),
    ),
    "Gastroenterology": (
        Case(
            "Heartburn after meals", "Gastro-oesophageal reflux disease",
            (("Pantoprazole 40 mg tablets", "1 tablet", "once a day, before breakfast", 28),),
            "Nothing to eat three hours before bedtime.", 28,
        ),
        Case(
            "Bloating and cramps", "Irritable bowel syndrome",
            (("Mebeverine 200 mg capsules", "1 capsule", "twice a day", 28),),
            "Keep a food diary for two weeks.", 28,
        ),
    ),
    "Pulmonology": (
        Case(
            "Dry cough for two months", "Upper airway cough syndrome",
            (("Mometasone 50 micrograms nasal spray", "2 puffs in each nostril", "once a day", 28),),
            "An X-ray of the chest has been requested.", 28,
        ),
        Case(
            "Asthma check-up", "Asthma, partly controlled",
            (("Budesonide 160 / formoterol 4.5 micrograms inhaler", "1 puff", "twice a day", 60),),
            "Rinse your mouth after each use.", 60,
        ),
    ),
    "Ophthalmology": (
        Case(
            "Burning eyes at the screen", "Dry eye disease",
            (("Sodium hyaluronate 0.2 % eye drops", "1 drop in each eye", "four times a day", 30),),
            "Look into the distance every twenty minutes.", 30,
        ),
        Case(
            "Itching, watery eyes", "Allergic conjunctivitis",
            (("Olopatadine 0.1 % eye drops", "1 drop in each eye", "twice a day", 21),),
            "Cold compresses help. No contact lenses meanwhile.",
        ),
    ),
}  # fmt: skip
