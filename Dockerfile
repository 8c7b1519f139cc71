# The image of every task on Kubeflow: this package with the packages of requirements-current.lock, and nothing else.
#   docker build -t registry.example.org/blendinator:1 .
# For the same bytes each time, give the base image by its digest: --build-arg BASE=python:3.13-slim-trixie@sha256:...
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
# pyfarmhash has no wheel. The compiler stays in this stage, so its version does not matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --no-install-recommends --yes g++
WORKDIR /src
COPY requirements-current.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-current.lock
COPY setup.py README.md ./
COPY blendinator blendinator
COPY pipeline pipeline
COPY components components
COPY model model
COPY schemas schemas
COPY data data
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
RUN useradd --uid 1000 --create-home blendinator
# Kubeflow's launcher makes /gcs, /minio and /s3 as volumes; everything else that is written goes below /tmp.
ENV PATH=/opt/venv/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
WORKDIR /home/blendinator
# By number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
ENTRYPOINT ["blendinator"]
CMD ["--help"]
