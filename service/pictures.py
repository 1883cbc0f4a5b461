"""Pictures sent by callers → features: decoded with care, seen by the bundle's backbone, in a thread of their own."""

import asyncio
import io
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from causalrec.backbone import FORMATS, Backbone, decode_picture, load_backbone
from causalrec.errors import ConfigError, DataError, Overloaded, RequestError

log = logging.getLogger(__name__)

MOST_PIXELS = 25_000_000  # of one picture: to decode one takes up to 12 bytes each
MOST_SCANS = 200  # of one JPEG: each is a pass over all of its pixels
MOST_WAITING = 16
FIELD = "picture"
VECTOR = "send the feature itself, as a JSON body with `feature`"


class Pictures:
    """
    Looks at pictures one at a time, as training does: the same file has the same feature.

    The backbone is loaded by the first picture, and kept. Neither the event loop nor the scoring thread waits.

    Args:
        most_waiting: how many pictures may wait to be looked at; more are refused.
    """

    def __init__(self, *, most_waiting: int = MOST_WAITING) -> None:
        self._most = most_waiting
        self._open = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._backbone: Backbone | None = None

    async def feature(self, data: bytes, identity: str) -> NDArray[np.float32]:
        """
        The raw feature [F] of the encoded picture `data`.

        Args:
            identity: of the backbone, as the bundle names it (`Visual.backbone`).
        Raises: RequestError where the bytes are no picture that is safe to decode, or this service cannot run the
            bundle's backbone; Overloaded where too many pictures wait.
        """
        if self._open >= self._most:
            raise Overloaded(1)
        self._open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, data, identity)
        finally:
            self._open -= 1

    def close(self) -> None:
        """Ends the thread, after the picture it is looking at."""
        self._thread.shutdown(cancel_futures=True)

    def _look(self, data: bytes, identity: str) -> NDArray[np.float32]:
        backbone = self._load(identity)
        try:
            check(data)
            picture = decode_picture(data, FIELD)
        except DataError as error:
            raise RequestError(FIELD, f"{len(data)} bytes", str(error).removeprefix(f"{FIELD}: ")) from error
        feature: NDArray[np.float32] = backbone.infer([backbone.prepare(picture)])[0].numpy()
        return feature

    def _load(self, identity: str) -> Backbone:
        if self._backbone is None or self._backbone.identity != identity:
            self._backbone = _backbone(identity)
            log.info("backbone %s is loaded, to look at new items' pictures", identity)
        return self._backbone


def check(data: bytes) -> None:
    """
    Reads no more of a picture than its head.

    Raises: DataError where decoding it could take unreasonable memory or time: too many pixels, or a JPEG of too many
        scans. What is no picture at all is left to the decoder, which says so.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height, kind = opened.width, opened.height, opened.format
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{FIELD}: has too many pixels ({MOST_PIXELS} at most); make it smaller") from error
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the decoder says it better
        return
    if width * height > MOST_PIXELS:
        raise DataError(f"{FIELD}: has {width} x {height} pixels ({MOST_PIXELS} at most); make it smaller")
    if kind in ("JPEG", "MPO") and (scans := data.count(b"\xff\xda")) > MOST_SCANS:
        raise DataError(f"{FIELD}: is a JPEG of {scans} scans ({MOST_SCANS} at most); save it again")


def _backbone(identity: str) -> Backbone:
    """The backbone of that identity. Raises: RequestError where it is another here, or none."""
    name = identity.rpartition(":timm-")[0] if identity.startswith("timm:") else identity.partition(":")[0]
    try:
        backbone = load_backbone(name)
    except ConfigError as error:
        reason = f"cannot be looked at: this bundle's features were made by {identity!r}, which is not here ({error})"
        raise RequestError(FIELD, identity, f"{reason}; {VECTOR}") from error
    if backbone.identity != identity:
        reason = f"cannot be looked at: this bundle's features were made by {identity!r}, here is {backbone.identity!r}"
        raise RequestError(FIELD, identity, f"{reason}; {VECTOR}")
    return backbone
