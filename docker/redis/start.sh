#!/bin/sh
# Redis with the password of the URL that the service is given, so that there is one secret and not two. It is on no
# command line, which every process could read.
set -eu
umask 077
sed -n 's|^rediss\{0,1\}://[^:/@]*:\([^@]*\)@.*|requirepass \1|p' /run/secrets/redis_url >/tmp/password.conf
if ! test -s /tmp/password.conf; then
    echo "error: /run/secrets/redis_url should be redis://:PASSWORD@redis:6379/0" >&2
    exit 2
fi
exec redis-server /etc/redis.conf "$@"
