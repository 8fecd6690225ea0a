"""What one consultation asks of the platform: assumptions, each with where it comes from. Pure.

Nobody has measured real users of this platform yet. When somebody has, these numbers are theirs to replace.
"""

# Requests of each kind for one consultation that takes place: thirty in all, as facts gathered in November 2026 on
# comparable systems suggest. The names are those of measured.toml.
PER_CONSULTATION: dict[str, float] = {
    # People stay logged in for 30 days: three in ten give their password, the others' apps refresh (10 min tokens).
    "login": 0.3,
    "refresh": 1.7,
    "me": 1.0,
    # Nine searches before one books; nine in ten are answered from the cache (SEARCH_FRESH_SECONDS and renewal).
    "search_cached": 8.1,
    "search_uncached": 0.9,
    "directory": 2.0,
    # One in eleven is cancelled and booked again.
    "book": 1.1,
    "cancel": 0.1,
    # Apps show what is booked whenever they are opened, and the visit while people wait for it.
    "appointment": 2.5,
    "appointments": 2.5,
    "consultation": 4.0,
    "consultations": 2.0,
    "start": 1.0,
    "complete": 1.0,
    # Four in five leave with a prescription.
    "prescribe": 0.8,
    "prescription": 1.0,
}

# The busiest hour over the day's average: 35 requests/s become 105. The peaks that eSanjeevani and Doctolib report
# are of one day in years; those are what `--peak-factor` is for.
PEAK_FACTOR = 3.0

# Answered from the cache or by hashing: no connection is held meanwhile.
WITHOUT_DATABASE = frozenset({"search_cached"})
