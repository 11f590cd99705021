# The operator's image. Everything is installed by hash from requirements/; what builds it stays in the first stage.
#
#   docker build -t teal-operator:0.1.0 .

FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/teal
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m pip --python /opt/teal install --no-cache-dir --require-hashes -r requirements/runtime.txt \
 && python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/teal install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
RUN python -m pip uninstall --yes pip setuptools wheel
COPY --from=build /opt/teal /opt/teal
# A user without a name has no home of its own, and Python asks for one.
ENV PATH=/opt/teal/bin:$PATH HOME=/ PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TEAL_HTTP_ADDRESS=:8080
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["teal"]
CMD ["run"]
