# SPDX-License-Identifier: Apache-2.0
"""The project's own files, for the checks in this folder."""

import os
import subprocess


def find(root):
    """Paths from @root of every file that is, or would be, in version control, sorted."""
    git = ["git", "-c", f"safe.directory={root}", "-C", root, "ls-files", "-co", "--exclude-standard"]
    try:
        done = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                              text=True)
        paths = done.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        paths = []  # no git, or not a clone: every file outside of build folders
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith(("build", ".git", "__pycache__"))]
            paths += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(p for p in set(paths) if os.path.isfile(os.path.join(root, p)))
