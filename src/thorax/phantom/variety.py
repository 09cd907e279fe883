"""Groups of variations of a cohort of synthetic chests."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Variety:
    """Groups of variations, each off in plain chests.

    Args:
        anatomy: Infants to very large adults, deformities, habitus, position of patient and arms.
        diseases: Emphysema, fibrosis, tumours, effusion, pneumothorax, collapse, resection.
        objects: Couches, supports, clothes, lines, tubes, implants, metal.
        scans: Field of view, range, slice thickness, kernel, dose, exports, padding.
        intensities: Densities and textures beyond the believable.
    """

    anatomy: bool = False
    diseases: bool = False
    objects: bool = False
    scans: bool = False
    intensities: bool = False

    def without(self, name: str) -> "Variety":
        """Return the same variety with one group off.

        Example:
            >>> WIDE.without("objects").objects
            False
        """
        groups = {field.name: getattr(self, field.name) for field in fields(self)}
        return Variety(**{**groups, name: False})


PLAIN = Variety()

WIDE = Variety(anatomy=True, diseases=True, objects=True, scans=True, intensities=True)
