# One image for all processes of the service: the command selects the process. Set TORCH_INDEX_URL to PyTorch's CPU
# index to build a small image without CUDA. The default is the build of the package index, which on Linux x86-64
# includes CUDA.
FROM python:3.12-slim AS build
ARG TORCH_INDEX_URL=""
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY api api
COPY gan gan
COPY gantry gantry
COPY jobs jobs
COPY migrations migrations
COPY worker worker
RUN python -m venv /opt/gantry \
    && if [ -n "$TORCH_INDEX_URL" ]; then /opt/gantry/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX_URL" "$(grep '^torch==' constraints.txt | cut -d' ' -f1)"; fi \
    && /opt/gantry/bin/pip install --no-cache-dir -c constraints.txt ".[all,onnx,monitor]"

FROM python:3.12-slim
RUN useradd --create-home gantry && install -d -o gantry /var/lib/gantry
COPY --from=build /opt/gantry /opt/gantry
ENV PATH=/opt/gantry/bin:$PATH GANTRY_DATA_DIR=/var/lib/gantry PYTHONUNBUFFERED=1
USER gantry
WORKDIR /var/lib/gantry
VOLUME /var/lib/gantry
EXPOSE 8000 8002
CMD ["gantry", "api"]
