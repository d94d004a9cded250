# golb's image: wheels are made where a compiler is, a slim image gets the finished environment.
# No BuildKit-only syntax, so that docker, buildx, podman and kaniko all build it.
# The paths are arguments: tests/deploy/test_image.py runs these very steps elsewhere, without an engine.

ARG PYTHON_VERSION=3.13
ARG VENV=/opt/golb
# Whether mypyc compiles the request path, which makes golb faster and takes minutes, on an emulated platform far longer; 0: it does not.
ARG COMPILED=1

FROM python:${PYTHON_VERSION}-slim AS build
ARG VENV
ARG SRC=/src
ARG WHEELS=/wheels
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# For golb itself, and for httptools, which has wheels for amd64 and arm64 only: for arm/v7 pip compiles it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

# Dependencies before golb's own code: on an emulated platform compiling takes minutes, and this layer lasts
# until pyproject.toml changes.
WORKDIR $SRC
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > requirements.txt \
    && python -m pip wheel --wheel-dir "$WHEELS" --requirement requirements.txt

COPY README.md ./
COPY golb ./golb
ARG COMPILED
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC="$COMPILED" CFLAGS=-fno-semantic-interposition python -m pip wheel --no-deps --wheel-dir "$WHEELS" .

# The environment is made here and copied: the final image then holds no wheels and this environment no pip.
RUN python -m venv --without-pip "$VENV" \
    && python -m pip --python "$VENV/bin/python" install --no-index --find-links "$WHEELS" golb


FROM python:${PYTHON_VERSION}-slim
ARG VENV
ARG COMPILED
# What is being released, as in `--build-arg VERSION=0.1.0`; "dev" is anything.
ARG VERSION=dev
LABEL org.opencontainers.image.title="golb" \
      org.opencontainers.image.description="A weighted load balancer for functions on Kubernetes edge clusters, on Trio" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build $VENV $VENV
# PYTHONSAFEPATH: nothing is imported from the directory golb happens to be started in.
ENV PATH="${VENV}/bin:${PATH}" PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1

# A tag that says another version than golb does must not be built.
RUN golb_version=$(python -c 'import golb; print(golb.__version__)') \
    && { [ "$VERSION" = dev ] || [ "$VERSION" = "$golb_version" ] \
        || { echo "VERSION is $VERSION, golb is $golb_version" >&2; exit 1; }; }

# Nor an image whose golb does not start. Importing all of it also leaves bytecode: slim images ship the standard library
# without, and at run time the file system is read-only, so every start would compile it again.
RUN python -c 'import golb, pkgutil; [__import__(m.name) for m in pkgutil.walk_packages(golb.__path__, "golb.") if m.name != "golb.tracing.spans"]' \
    && python -m golb --help > /dev/null \
    && { [ "$COMPILED" = 0 ] \
        || python -c 'import golb.handlers.wrr as wrr; assert wrr.__file__.endswith(".so"), "the request path is not compiled"'; }

# Only after that step, which is to write bytecode.
ENV PYTHONDONTWRITEBYTECODE=1 eb_go_lb_mode=prod

# A number, not a name: the kubelet can tell only from a number that runAsNonRoot holds.
USER 65532:65532
EXPOSE 8080
# golb drains on it. The exec form makes golb process 1, so the signal reaches it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "golb"]
