# Driftline as a service: docker build --tag driftline .

# A virtual environment is made here, with pip and compilers if need be, and moved below as a whole.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/driftline

# The dependencies first: they change rarely and make up nearly all of the image.
COPY pyproject.toml ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; e = p['optional-dependencies']; \
        print(*p['dependencies'], *e['avro'], *e['protobuf'], e['gtfs'][-1], *e['msk'], *e['ui'], *e['oidc'][1:], *e['png'], sep='\n')" > requirements.txt \
    && /opt/driftline/bin/pip install --requirement requirements.txt

COPY README.md LICENSE NOTICE ./
COPY detectors detectors
COPY driftline driftline
COPY retrain retrain
COPY streamer streamer
RUN /opt/driftline/bin/pip wheel --no-deps --wheel-dir dist . \
    && /opt/driftline/bin/pip install --no-deps dist/driftline-*.whl


FROM python:3.12-slim-bookworm
COPY --from=build /opt/driftline /opt/driftline
ENV PATH=/opt/driftline/bin:$PATH PYTHONUNBUFFERED=1

# Fetches from Kafka are buffers of many MB. By default glibc maps and unmaps memory for each of them, and the page faults
# double the CPU cost of reading uncompressed records of 1 KiB. So it shall keep what it had, until the worker gives memory
# back, every 30 s.
ENV MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864

# Inside a container the loopback address reaches nobody; what is published is up to whoever runs it.
ENV DRIFTLINE_METRICS__HOST=0.0.0.0 DRIFTLINE_METRICS__PORT=9464
# One JSON object a line, for collectors of logs.
ENV DRIFTLINE_LOG_FORMAT=json
EXPOSE 9464

# A number, so that Kubernetes can see that it is not root.
RUN install --directory --owner=10001 --group=10001 /var/cache/driftline /var/lib/driftline
USER 10001:10001

# Kernels are compiled before a worker joins its group, and kept here. This compiles those of this machine's processor now;
# another kind of processor compiles its own at the first start, and keeps them if the folder is a volume.
ENV NUMBA_CACHE_DIR=/var/cache/driftline/numba
RUN python -m streamer.app.warm_up

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['DRIFTLINE_METRICS__PORT'] + '/healthz', timeout=4)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["driftline"]
CMD ["run", "--config", "/etc/driftline/driftline.yaml"]
