"""Scans with patient data in their headers, and a search for these data in outputs."""

import base64
import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from .io.conftest import one_slice

TAGS = {
    "PatientName": "ZZDOE^JANE",
    "PatientID": "ZZ-4711",
    "PatientBirthDate": "19010203",
    "StudyDate": "19991231",
    "SeriesDate": "19991230",
    "AccessionNumber": "ZZACC99",
    "InstitutionName": "ZZ Hospital",
    "ReferringPhysicianName": "ZZHOUSE^GREG",
    "StudyDescription": "ZZ query",
    "StudyInstanceUID": "1.2.99.77.1",
    "SeriesInstanceUID": "1.2.99.77.2",
    "FrameOfReferenceUID": "1.2.99.77.3",
}
PRIVATE = "ZZPRIVATE"
SECRETS = ("ZZDOE", "ZZHOUSE", PRIVATE, *TAGS.values())
Chest = tuple[np.ndarray, np.ndarray]


def save_dicom(folder: Path, patient: Chest) -> Path:
    hu, affine = patient
    folder.mkdir()
    step = np.linalg.norm(affine[:3, :3], axis=0)
    stored = (hu[::-1, ::-1] + 1024).clip(0, 4095).astype(np.uint16)
    for index in range(stored.shape[2]):
        position = (0, 0, float(step[2] * index))
        slice_ = one_slice(stored[:, :, index].T, position, **TAGS)
        slice_.PixelSpacing = [float(step[1]), float(step[0])]
        block = slice_.private_block(0x0011, "ZZ MAKER", create=True)
        block.add_new(1, "LO", PRIVATE)
        slice_.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def save_nifti(path: Path, patient: Chest) -> Path:
    hu, affine = patient
    nibabel.save(planted(nibabel.Nifti1Image(hu, affine)), path)
    assert b"ZZDOE" in unpacked(path.read_bytes())
    return path


def planted(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    """Put patient data into all text fields and extensions of a NIfTI header."""
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = b"ZZDOE 19991231"
    dataset = one_slice(np.zeros((2, 2), np.uint16), (0, 0, 0), **TAGS)
    del dataset.file_meta
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=True, little_endian=True)
    for code, content in ((2, stream.getvalue()), (6, b"ZZDOE^JANE 19010203"), (0, b"ZZ")):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, content))
    return image


def save_itk(path: Path, patient: Chest) -> Path:
    hu, affine = patient
    image = SimpleITK.GetImageFromArray(hu[::-1, ::-1].T)
    image.SetSpacing(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    image.SetMetaData("PatientName", "ZZDOE^JANE")
    image.SetMetaData("0010|0030", "19010203")
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    assert b"ZZDOE" in path.read_bytes()
    return path


def unpacked(content: bytes) -> bytes:
    """Return the bytes and the uncompressed content of gzip, zip and texts in PNG."""
    parts = [content]
    if content[:2] == b"\x1f\x8b":
        parts.append(gzip.decompress(content))
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts += [unpacked(archive.read(name)) for name in archive.namelist()]
    if content[:4] == b"\x89PNG":
        parts += _png_texts(content)
    return b"\n".join(parts)


def _png_texts(content: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        chunk = content[place + 8 : place + 8 + length]
        if kind in (b"zTXt", b"iTXt", b"eXIf", b"tEXt"):
            yield chunk
            if kind == b"zTXt":
                yield zlib.decompress(chunk[chunk.index(b"\0") + 2 :])
        place += length + 12


def leaks(folder: Path, printed: str) -> list[tuple[str, str]]:
    """Return names of files, or ``(printed)``, with the secrets in them, in ASCII or UTF-16."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    contents = {name: unpacked(path.read_bytes()) for name, path in files.items()}
    contents["(printed)"] = printed.encode()
    return [
        (name, secret)
        for name, content in contents.items()
        for secret in SECRETS
        for encoding in ("ascii", "utf-16-le", "utf-16-be")
        if secret.encode(encoding) in content
    ]


def decoded(page: str) -> str:
    """Return the base64 content of a page as text with one letter per byte."""
    parts = re.findall(r'"([A-Za-z0-9+/]{200,}={0,2})"', page)
    return "".join(unpacked(base64.b64decode(part)).decode("latin-1") for part in parts)
