"""What a run needs until its end: a certificate, `paas` with its apps, and the peers before the same instances."""
import contextlib
import pathlib
import shutil
import tempfile

from house import run
from ours import Ours
from peers import PEERS, PLAIN, SECURE, SOCKETS

MANY = 10_000


class World:
    """`paas` and the peers stand from `with` to its end."""

    def __init__(self, paas, peers, seconds):
        self.paas, self.peer_names, self.seconds = paas, peers, seconds
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="paas-bench-"))
        self.open = contextlib.ExitStack()
        self.crowd = None

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.open.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def build(self):
        self.certificate = self.make_certificate()
        self.house = self.open.enter_context(Ours(self.paas, self.certificate))
        self.house.push_echo()
        origin, echo = self.house.upstream("origin"), self.house.upstream("echo")
        self.proxies = [self.house]
        for name in self.peer_names:
            peer = PEERS[name](self.folder, {PLAIN: origin, SECURE: origin, SOCKETS: echo}, self.certificate)
            self.open.callback(peer.end)
            peer.start()
            self.proxies.append(peer)

    def make_certificate(self):
        """ECDSA on P-256, as CAs issue them by default: the files of chain and key."""
        chain, key = self.folder / "certificate", self.folder / "key"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "30", "-subj", f"/CN={SECURE}", "-addext", f"subjectAltName=DNS:{SECURE}"]
        run([*words, "-keyout", key, "-out", chain])
        return chain, key

    def crowded_house(self):
        """A second `paas`, with 10,000 hosts; it is made when it is first asked for."""
        if self.crowd is None:
            self.crowd = self.open.enter_context(Ours(self.paas, self.certificate, MANY))
        return self.crowd
