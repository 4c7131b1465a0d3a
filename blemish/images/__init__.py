"""From a path, folder, URL, array, list or dict to decoded images; the one resize; geometry back."""

from blemish.images.area import Area, area_of, draw_polygons
from blemish.images.capture_time import exif_times, modification_times
from blemish.images.decode import decode_image, decode_samples
from blemish.images.folders import all_files, file_names, left_out_kind, left_out_line, list_images, look_through
from blemish.images.frame import Frame, Inputs, Scored
from blemish.images.freed_memory import keep_freed_memory, return_freed_memory
from blemish.images.geometry import InputGeometry, Sides
from blemish.images.limits import Limits, refusal
from blemish.images.names import is_image_name, unread_kind
from blemish.images.patches import cut_patch
from blemish.images.reading import read, read_ahead, work_ahead
from blemish.images.sample_span import SampleMeter, Span
from blemish.images.sources import ImageRef, expand, expand_bytes
from blemish.images.tiling import Tiling
from blemish.images.video import is_live

__all__ = [
    "Area",
    "Frame",
    "ImageRef",
    "InputGeometry",
    "Inputs",
    "Limits",
    "SampleMeter",
    "Scored",
    "Sides",
    "Span",
    "Tiling",
    "all_files",
    "area_of",
    "cut_patch",
    "decode_image",
    "decode_samples",
    "draw_polygons",
    "exif_times",
    "expand",
    "expand_bytes",
    "file_names",
    "is_image_name",
    "is_live",
    "keep_freed_memory",
    "left_out_kind",
    "left_out_line",
    "list_images",
    "look_through",
    "modification_times",
    "read",
    "read_ahead",
    "refusal",
    "return_freed_memory",
    "unread_kind",
    "work_ahead",
]
