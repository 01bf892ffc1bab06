# Redis as Debian packages it, for clusters of tests: what the chart's embedded Redis starts, and no more.
# Context: a folder whose files/ holds the program and its libraries (hack/image/build.ts).
FROM scratch
COPY files /
USER 999:999
WORKDIR /data
CMD ["redis-server"]
