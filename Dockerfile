# emo-rt on a CPU: docker run --rm --volume "$PWD:/work" emo-rt run --image me.jpg --audio hello.wav --out hello.mp4
# The server: docker compose up
FROM python:3.11-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[openvino,serve]"
WORKDIR /work
ENTRYPOINT ["emo-rt"]
