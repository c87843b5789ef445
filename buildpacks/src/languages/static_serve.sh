#!/bin/sh
# Serves a folder: paas-static FOLDER [pushstate]. The port is known only now, so the configuration is written now.
set -eu
root=$1
missing='=404'
if [ "${2:-}" = pushstate ]; then missing=/index.html; fi
error_page=
if [ -f "$root/404.html" ]; then error_page='error_page 404 /404.html;'; fi
# No heredoc: this script passes through a Dockerfile, and builders read those differently.
config="
daemon off;
worker_processes 1;
pid /tmp/paas-static.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    charset utf-8;
    access_log off;
    server_tokens off;
    absolute_redirect off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    client_body_temp_path /tmp/paas-static-body;
    proxy_temp_path /tmp/paas-static-proxy;
    fastcgi_temp_path /tmp/paas-static-fastcgi;
    uwsgi_temp_path /tmp/paas-static-uwsgi;
    scgi_temp_path /tmp/paas-static-scgi;
    gzip on;
    gzip_vary on;
    gzip_min_length 512;
    gzip_types text/plain text/css text/xml text/javascript application/javascript application/json application/xml application/manifest+json image/svg+xml;
    server {
        listen ${PORT:-5000};
        root $root;
        $error_page
        location ^~ /.well-known/ { try_files \$uri =404; }
        location ~ (^|/)\\. { return 404; }
        location ~ ^/(Procfile|Staticfile)\$ { return 404; }
        location / { try_files \$uri \$uri.html \$uri/ $missing; }
    }
}
"
printf '%s' "$config" >/tmp/paas-static.conf
exec nginx -e stderr -c /tmp/paas-static.conf
