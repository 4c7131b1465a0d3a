"""Which files are taken for images by their names, and which are pictures that are left out."""

from __future__ import annotations

from pathlib import PurePosixPath

_ONE_IMAGE = (
    "apng avif avifs bmp dib gif j2c j2k jfi jfif jif jp2 jpc jpe jpeg jpf jpg jpx pbm pgm png pnm ppm ras sr webp"
)
ONE_IMAGE, PAGED = frozenset(_ONE_IMAGE.split()), frozenset(("tiff", "tif", "pdf"))
SUFFIXES = ONE_IMAGE | PAGED

# What holds pictures or arrays that are not read: named where a folder holds some, so that none vanishes silently.
_PICTURES = (
    "ai bpg cgm cin cur dds djvu dpx eps exr fit fits fts hdp hdr heic heics heif heifs hif icb icns ico iff ilbm insp "
    "jls jng jph jpm jps jxl jxr ktx ktx2 mj2 mng mpo pam pct pcx pdn pfm pgf pic pict psb psd qoi rgb rgba sgi svg "
    "tf2 tf8 btf tga vda vst wbmp wdp wmf emf xbm xcf xpm"
)
_CAMERA_RAWS = (
    "3fr ari arw bay braw cap cr2 cr3 crw dcr dcs dng erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf pef ptx pxn r3d "
    "raf raw rw2 rwl sr2 srf srw x3f"
)
_SCIENCE = "czi dcm dicom ima img ims lif lsm mha mhd mrc nd2 ndpi nhdr nii nrrd oib oif scn spe svs vms vsi zvi"
_ARRAYS = "h5 hdf hdf5 mat npy npz zarr"
_UNREAD = frozenset(f"{_PICTURES} {_CAMERA_RAWS} {_SCIENCE} {_ARRAYS}".split())
_PAIRS = (".nii.gz", ".ome.zarr")


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return suffix_of(name) in SUFFIXES


def unread_kind(name: str) -> str | None:
    """The suffix, as `.heic`, of a file whose name says that it is a picture or an array of a kind that is not read."""
    lower = name.lower()
    pair = next((pair for pair in _PAIRS if lower.endswith(pair)), None)
    suffix = suffix_of(name)
    return pair or (f".{suffix}" if suffix in _UNREAD else None)


def suffix_of(name: str) -> str:
    """The last suffix in lower case, without its dot."""
    return PurePosixPath(name).suffix[1:].lower()


def accepted() -> str:
    """The accepted suffixes, for messages."""
    return ", ".join(sorted(SUFFIXES))
