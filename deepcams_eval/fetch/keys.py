"""Where the key of the Atmosphere Data Store is found; its value goes to the server alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from deepcams_eval.errors import InputError

ADS_URL = "https://ads.atmosphere.copernicus.eu/api"
ADS_HINT = (
    "make an account at https://ads.atmosphere.copernicus.eu, copy the key from your profile "
    "there, and set CDSAPI_KEY or write 'url: " + ADS_URL + "' and 'key: …' to ~/.cdsapirc"
)


@dataclass(frozen=True)
class AdsKey:
    """The key of the Atmosphere Data Store.

    Attributes
    ----------
    url : str
        Address of the service.
    key : str
        Not shown when this object is printed.
    verify : bool
        Whether certificates are checked.
    found_in : str
        Where the key was found: a variable or a file.
    """

    url: str
    key: str = field(repr=False)
    verify: bool
    found_in: str


def find_ads_key() -> AdsKey | None:
    """Return the key as cdsapi finds it, or None.

    ``CDSAPI_URL`` and ``CDSAPI_KEY`` go before the file ``$CDSAPI_RC``, by default
    ``~/.cdsapirc``. Without an address it is that of the Atmosphere Data Store.
    """
    path = Path(os.environ.get("CDSAPI_RC") or "~/.cdsapirc").expanduser()
    written = _read(path)
    key = os.environ.get("CDSAPI_KEY") or written.get("key", "")
    if not key:
        return None
    return AdsKey(
        url=(os.environ.get("CDSAPI_URL") or written.get("url") or ADS_URL).rstrip("/"),
        key=key,
        verify=written.get("verify", "1") != "0",
        found_in="CDSAPI_KEY" if os.environ.get("CDSAPI_KEY") else str(path),
    )


def require_ads_key() -> AdsKey:
    """Return the key of the Atmosphere Data Store.

    Raises
    ------
    InputError
        If there is none, it is of the form that the old store took, or its address is that of
        another store.
    """
    found = find_ads_key()
    if found is None:
        raise InputError("there is no key for the Atmosphere Data Store", hint=ADS_HINT)
    if ":" in found.key:
        raise InputError(
            f"the key in {found.found_in} is of the form UID:KEY, which the store no longer takes",
            hint=ADS_HINT,
        )
    if "cds.climate.copernicus.eu" in found.url:
        raise InputError(
            f"{found.url} is the Climate Data Store, which does not hold EAC4",
            hint=f"set CDSAPI_URL={ADS_URL}; the key may stay",
        )
    return found


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
