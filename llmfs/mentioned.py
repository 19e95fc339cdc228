"""Follows what files say: looks into those that programs begin to read, and has fetched what they name.

`policy/mentions.py` decides. This finds the directories that are meant, waits for their listings, and keeps the looking
out of the way of replies. Only what came from the source since the mount is looked into: what came of it once is for
the predictor to know.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from llmfs.blocks import BLOCK_BYTES
from llmfs.content import Content
from llmfs.inodes import Inode
from llmfs.local_rules import DESCENT
from llmfs.metadata import Metadata
from llmfs.policy.companions import SMALL_BYTES
from llmfs.policy.mentions import FILE_BYTES_MAX, KINDS_MAX, PIECE_BYTES, Directory, Mentions, Scope, Text, kind_of
from llmfs.policy.namesakes import Namesakes
from llmfs.prefetcher import Prefetcher

log = logging.getLogger(__name__)

MENTION = "mention"
"""What files are told apart by that are fetched for it."""

WAITING_MAX = 64
"""Directories whose listings are waited for; each keeps the words of files."""


class _Meant(NamedTuple):
    """A text whose files are looked for in a directory, or in the directory `leaf` in it if there is one."""

    text: Text
    leaf: bytes


class Mentioned:
    """Has fetched what files name."""

    def __init__(
        self,
        prefetcher: Prefetcher,
        metadata: Metadata,
        content: Content,
        namesakes: Namesakes,
        later: Callable[..., Any],
        on_fault: Callable[[], None],
    ) -> None:
        """`later(call, *args)` makes a call on the event loop, when what is answered now has been."""
        self._prefetcher = prefetcher
        self._metadata = metadata
        self._content = content
        self._later = later
        self._on_fault = on_fault
        self._mentions = Mentions(namesakes)
        self._libraries: OrderedDict[bytes, Inode] = OrderedDict()  # by kind: where most files of it were read
        self._waiting: OrderedDict[tuple[Inode, bytes], list[_Meant]] = OrderedDict()

    def began(self, inode: Inode) -> None:
        """A program has read the beginning of a small file."""
        if inode.place is None:
            return
        directory, name = inode.place
        if (names := self._names(directory)) is not None:
            self._mentions.began(names, name)
            kind = kind_of(name)
            library = self._libraries.setdefault(kind, directory)
            if library.mentions is None or len(names.read) > len(library.mentions.read):
                self._libraries[kind] = directory
            if len(self._libraries) > KINDS_MAX:
                self._libraries.popitem(last=False)

    def came(self, inode: Inode, offset: int) -> None:
        """A program read a block of a file, or a part of it, that has come from the source."""
        if inode.size <= FILE_BYTES_MAX:
            self._later(self._look_into, inode, offset - offset % BLOCK_BYTES)

    def listed(self, directory: Inode) -> None:
        """The names of a directory have come."""
        if self._waiting and directory.place is not None:
            for meant in self._waiting.pop(directory.place, ()):
                self._want_in(directory, meant, Scope.BELOW)

    def _look_into(self, inode: Inode, offset: int) -> None:
        """Piece by piece, so that others are answered in between."""
        try:
            is_new = offset % BLOCK_BYTES == 0
            if inode.place is None or (is_new and not self._mentions.is_worth_reading(inode.place[1])):
                return
            data = self._content.at_hand(inode, offset, PIECE_BYTES)
            if data:
                self._follow(*inode.place, data)
                if (offset + PIECE_BYTES) % BLOCK_BYTES and offset + PIECE_BYTES < inode.size:
                    self._later(self._look_into, inode, offset + PIECE_BYTES)
        except Exception:  # a bug of ours in what nobody asked for must not take the mount down
            log.exception("what a file mentions is not followed")
            self._on_fault()

    def _follow(self, directory: Inode, name: bytes, data: bytes) -> None:
        """A file of a directory holds this: what it names in there, in the directories there and beside, and in that
        which most files of its kind were read in."""
        text = Text(name, data)
        above, leaf = directory.place or (None, b"")
        if directory.listing is not None:
            self._want_in(directory, _Meant(text, b""), Scope.BESIDE)
        elif above is not None:
            self._wait(above, leaf, _Meant(text, b""))
        for base in (directory, above):
            if base is not None and (names := self._names(base)) is not None:
                for folder in self._mentions.folders(names, text):
                    if base is directory or folder != leaf:
                        self._go_into(base, folder, _Meant(text, leaf))
        library = self._libraries.get(text.kind)
        if library is not None and library is not directory:
            self._want_in(library, _Meant(text, b""), Scope.LIBRARY)

    def _go_into(self, directory: Inode, name: bytes, meant: _Meant) -> None:
        """A directory in a directory is named."""
        folder = self._metadata.known(directory, name)
        if isinstance(folder, Inode) and folder.listing is not None:
            self._want_in(folder, meant, Scope.BELOW)
        else:
            self._wait(directory, name, meant)
            self._prefetcher.have_listings_ready(directory, [name], DESCENT)

    def _want_in(self, directory: Inode, meant: _Meant, scope: Scope) -> None:
        """Has fetched what a text names in a directory whose names are known."""
        names = self._names(directory)
        if names is None:
            return
        if meant.leaf in names.folders:
            self._go_into(directory, meant.leaf, _Meant(meant.text, b""))
        elif wanted := self._mentions.wanted(names, meant.text, scope):
            self._prefetcher.have_files_ready(directory, wanted, SMALL_BYTES, MENTION)

    def _names(self, directory: Inode) -> Directory | None:
        """What is known of a directory's names; None where they are not known, or too many."""
        listing = directory.listing
        if listing is None:
            return None
        if directory.mentions is None:
            directory.mentions = Directory()
        return directory.mentions if directory.mentions.are_names(listing) else None

    def _wait(self, directory: Inode, name: bytes, meant: _Meant) -> None:
        """For the listing of a directory in a directory."""
        self._waiting.setdefault((directory, name), []).append(meant)
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
