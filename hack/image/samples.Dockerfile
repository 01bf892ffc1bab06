# The image with module tools in it, as a team adds its own: a worker finds them below /app. These are of config/samples and
# of the suite test/containers.
ARG BASE=oao.test/oao:dev
FROM ${BASE}
COPY config/samples test/containers /app/
