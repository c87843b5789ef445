#!/bin/sh
# Serves a PHP app: paas-php FOLDER. nginx answers files, PHP's own process manager the rest through FOLDER/index.php.
set -eu
root=$1
fpm=$(ls /usr/sbin/php-fpm* | head -n 1)
printf '%s\n' '[global]' 'error_log = /proc/self/fd/2' 'daemonize = yes' 'pid = /tmp/paas-php-fpm.pid' '[www]' \
    'listen = /tmp/paas-php.sock' 'pm = dynamic' "pm.max_children = ${WEB_CONCURRENCY:-10}" 'pm.start_servers = 2' \
    'pm.min_spare_servers = 1' 'pm.max_spare_servers = 3' 'clear_env = no' 'catch_workers_output = yes' \
    'decorate_workers_output = no' >/tmp/paas-php-fpm.conf
"$fpm" --fpm-config /tmp/paas-php-fpm.conf
config="
daemon off;
worker_processes 1;
pid /tmp/paas-php-nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    server_tokens off;
    absolute_redirect off;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path /tmp/paas-php-body;
    proxy_temp_path /tmp/paas-php-proxy;
    fastcgi_temp_path /tmp/paas-php-fastcgi;
    uwsgi_temp_path /tmp/paas-php-uwsgi;
    scgi_temp_path /tmp/paas-php-scgi;
    server {
        listen ${PORT:-5000};
        root $root;
        index index.php index.html;
        location ~ (^|/)\\.(?!well-known/) { return 404; }
        location ~ ^/(vendor/|composer\\.(json|lock)\$|Procfile\$) { return 404; }
        location / { try_files \$uri \$uri/ /index.php\$is_args\$args; }
        location ~ \\.php\$ {
            try_files \$uri =404;
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
            fastcgi_pass unix:/tmp/paas-php.sock;
        }
    }
}
"
printf '%s' "$config" >/tmp/paas-php-nginx.conf
exec nginx -e stderr -c /tmp/paas-php-nginx.conf
