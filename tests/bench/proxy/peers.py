"""nginx, HAProxy and Caddy from Debian, set up for what `paas` does: three hosts, forwarded headers, TLS and a log."""
import json
import shutil

import machine

PLAIN, SECURE, SOCKETS = "plain.bench.test", "secure.bench.test", "sockets.bench.test"
# What the peers are told may stay open; more than any row opens.
CONNECTIONS_MAX = 9000

NGINX = """
user root; daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {folder}/pid; error_log {folder}/error error;
events {{ worker_connections 18000; }}
http {{
    # Written in blocks, as paas does.
    access_log {folder}/access combined buffer=64k flush=1s;
    keepalive_requests 1000000000; keepalive_timeout 600; proxy_read_timeout 600; server_names_hash_bucket_size 128;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:S:10m; ssl_session_tickets on;
    proxy_http_version 1.1;
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    {sites}
}}
"""
NGINX_SITE = """
    upstream {host} {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600; }}
    server {{
        listen 127.0.0.1:{http}{backlog}; listen 127.0.0.1:{https} ssl http2{backlog};
        server_name {host}; location / {{ proxy_pass http://{host}; }}
    }}"""
HAPROXY = """
global
    nbthread 1
    maxconn {connections}
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log stdout format raw local0
    option httplog
    timeout client 600s
    timeout server 600s
    timeout connect 5s
    timeout http-keep-alive 600s
    timeout tunnel 600s
    http-reuse always
frontend all
    bind 127.0.0.1:{http} backlog 4096
    bind 127.0.0.1:{https} ssl crt {folder}/pair alpn h2,http/1.1 backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    use_backend %[req.hdr(host),field(1,:),lower,map_str({folder}/map)]
"""


class Peer:
    """One of them, from `start` to `end`; what it needs lies in a folder of its own."""

    name = "?"

    def __init__(self, folder, upstreams, certificate):
        self.folder = folder / self.name
        self.folder.mkdir()
        self.upstreams = upstreams
        self.http, self.https, self.admin = (machine.free_port() for _ in range(3))
        chain, key = (path.read_text() for path in certificate)
        for file, text in {"certificate": chain, "key": key, "pair": chain + key}.items():
            (self.folder / file).write_text(text)
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        self.configure()
        log = self.folder / "output"
        self.process = machine.start(self.words(), log, self.env())
        machine.wait_until_listening(self.process, self.http, log)

    def end(self):
        if self.process:
            machine.end(self.process)
            self.process = None

    def restart(self):
        self.end()
        self.start()

    def env(self):
        return {}


class Nginx(Peer):
    name = "nginx"

    def configure(self):
        sites = ""
        for number, (host, upstream) in enumerate(self.upstreams.items()):
            backlog = " backlog=4096" if number == 0 else ""
            sites += NGINX_SITE.format(host=host, upstream=upstream, http=self.http, https=self.https, backlog=backlog)
        (self.folder / "config").write_text(NGINX.format(folder=self.folder, sites=sites))

    def words(self):
        return ["nginx", "-c", self.folder / "config", "-p", self.folder]


class Haproxy(Peer):
    name = "haproxy"

    def configure(self):
        text = HAPROXY.format(folder=self.folder, http=self.http, https=self.https, connections=CONNECTIONS_MAX)
        for host, upstream in self.upstreams.items():
            text += f"backend {host}\n    server origin {upstream}\n"
        (self.folder / "map").write_text("".join(f"{host} {host}\n" for host in self.upstreams))
        (self.folder / "config").write_text(text)

    def words(self):
        return ["haproxy", "-db", "-f", self.folder / "config"]


class Caddy(Peer):
    name = "caddy"

    def configure(self):
        servers = {"http": self.server(self.http), "https": self.server(self.https)}
        servers["https"]["tls_connection_policies"] = [{}]
        pair = {"certificate": str(self.folder / "certificate"), "key": str(self.folder / "key")}
        log = {"level": "INFO", "writer": {"output": "file", "filename": str(self.folder / "access"), "roll": False}}
        config = {
            "admin": {"listen": f"127.0.0.1:{self.admin}", "config": {"persist": False}},
            "logging": {"logs": {"default": log}},
            "apps": {"http": {"servers": servers}, "tls": {"certificates": {"load_files": [pair]}}},
        }
        (self.folder / "config").write_text(json.dumps(config))

    def server(self, port):
        pool = {"enabled": True, "max_idle_conns_per_host": 256, "idle_timeout": "600s"}
        transport = {"protocol": "http", "keep_alive": pool}
        routes = []
        for host, upstream in self.upstreams.items():
            forward = {"handler": "reverse_proxy", "transport": transport, "upstreams": [{"dial": upstream}]}
            routes.append({"match": [{"host": [host]}], "handle": [forward], "terminal": True})
        return {
            "listen": [f"127.0.0.1:{port}"],
            "routes": routes,
            "automatic_https": {"disable": True},
            "protocols": ["h1", "h2"],
            "logs": {},
        }

    def words(self):
        return ["caddy", "run", "--config", self.folder / "config"]

    def env(self):
        home = {name: str(self.folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        return home | {"GOMAXPROCS": "1"}


PEERS = {kind.name: kind for kind in (Nginx, Haproxy, Caddy)}


def check_installed(names):
    missing = [name for name in [*names, "wrk", "h2load", "openssl"] if not shutil.which(name)]
    if missing:
        raise SystemExit(f"{', '.join(missing)} missing: run tests/bench/proxy/install")
