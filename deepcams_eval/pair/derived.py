"""Products made of other products by interpolation: ``NAME=METHOD:PARENT``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import xarray as xr

from deepcams_eval.core.field import Product, stamp_of
from deepcams_eval.downscale.derived import bicubic_nodes, hourly_linear
from deepcams_eval.errors import InputError
from deepcams_eval.read.product import open_product
from deepcams_eval.read.spec import OPTION_KEYS, ProductSpec

_METHODS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "linear": hourly_linear,
    "linear+bicubic": lambda field: bicubic_nodes(hourly_linear(field, frame_growth=9)),
}
"""How each of `deepcams_eval.read.spec.DERIVED` makes a Field."""


def derive(name: str, method: str, parent: Product) -> Product:
    """Return the product that a method makes of `parent`, lazily.

    Parameters
    ----------
    name : str
    method : {"linear", "linear+bicubic"}
    parent : Product

    Raises
    ------
    InputError
        If the parent holds means, or its grid is uneven where the method needs an even one.
    """
    notes = [f"linear in time between the frames of {parent.name}, hourly; gaps are not bridged"]
    if method == "linear+bicubic":
        notes.append("Keys bicubic (a = -0.5) to a third of the spacing, on the parent's nodes")
    field = _METHODS[method](parent.field)
    return Product(name, field, "derived", files=parent.files, notes=tuple(notes))


def open_products(specs: Sequence[ProductSpec], *, strict: bool = False) -> tuple[Product, ...]:
    """Open several products, in the order given; derived ones may stand before their parents.

    Parameters
    ----------
    specs : sequence of ProductSpec
    strict : bool, default False
        See `deepcams_eval.read.product.open_product`.

    Raises
    ------
    InputError
        If two have one name but for case, or a derived product has no parent, one that is itself
        derived, or one of means.
    """
    # Files are named after products, and some disks do not tell case apart.
    names = [spec.name.lower() for spec in specs]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise InputError(
            f"{names.count(repeated[0])} products are named {repeated[0]!r}",
            hint="give each a name of its own",
        )
    originals = [spec.name for spec in specs if spec.derived is None]
    for spec in specs:
        _check(spec, originals)
    opened = {spec.name: open_product(spec, strict=strict) for spec in specs if not spec.derived}
    for spec in specs:
        if spec.derived is not None:
            method, parent = spec.derived[0], opened[spec.derived[1]]
            if stamp_of(parent.field) == "mean":
                raise InputError(
                    f"product {spec.name!r}: {parent.name!r} holds means over intervals, and"
                    " interpolation between two means is not the value at an hour",
                    hint="derive from a product of instantaneous values, or say stamp=point for it",
                )
            opened[spec.name] = derive(spec.name, method, parent)
    return tuple(opened[spec.name] for spec in specs)


def _check(spec: ProductSpec, originals: Sequence[str]) -> None:
    if spec.derived is None:
        return
    method, parent = spec.derived
    if parent not in originals:
        raise InputError(
            f"product {spec.name!r}: there is no product {parent!r} that is read from files",
            hint=f"write {spec.name}={method}:PARENT with PARENT one of"
            f" {', '.join(originals) or '(none given)'}",
        )
    given = [key for key in OPTION_KEYS if getattr(spec, key) is not None]
    if given:
        raise InputError(
            f"product {spec.name!r}: {', '.join(given)} has no meaning for a derived product",
            hint=f"give it to {parent!r}",
        )
