# The image with the module tools of config/samples in it, as a team adds its own: a worker finds them below /app.
ARG BASE=oao.test/oao:dev
FROM ${BASE}
COPY config/samples /app
