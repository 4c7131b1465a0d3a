"""Which pictures of a tree are of a camera: depth maps and the like are no images to learn from."""

from __future__ import annotations

from blemish.datasets.layouts.folder_roles import FolderRoles
from blemish.datasets.stems import image_of_stem, is_other_sensor, sensor_base
from blemish.datasets.tree import File, Tree


def camera_views(tree: Tree, roles: FolderRoles) -> list[File]:
    """All but those beside a folder `rgb`, and those called `000_depth` beside `000` or `000_rgb`."""
    known = {(file.folders, image_of_stem(file.stem.casefold())) for file in tree.images}

    def is_view(file: File) -> bool:
        if roles.in_masks(file):
            return True
        beside = is_other_sensor(file.stem) and (file.folders, sensor_base(file.stem.casefold())) in known
        return not beside and not roles.beside_rgb(file)

    return [file for file in tree.images if is_view(file)]
