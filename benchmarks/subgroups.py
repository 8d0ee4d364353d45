"""The subgroups that a labelled picture belongs to, by sub-type, view, sex and age."""

from edge_app.images.labelled_pictures import LabelledPicture

_AGE_BANDS = ((1, "under 1"), (6, "1 to 5"), (18, "6 to 17"), (40, "18 to 39"), (65, "40 to 64"))


def groups_of(picture: LabelledPicture) -> dict[str, str]:
    """Subgroup by kind, such as {"view": "AP", "subtype": "virus"}; unknown ones are left out."""
    groups = {kind: getattr(picture, kind) for kind in ("subtype", "view", "sex")}
    if picture.age_years is not None:
        groups["age"] = age_band(picture.age_years)
    return {kind: value for kind, value in groups.items() if value}


def age_band(years: float) -> str:
    """Name of the age group of an age in years."""
    return next((name for below, name in _AGE_BANDS if years < below), "65 and over")
