# Stands in for NODE_IMAGE where nothing can be pulled: the Node.js of package.json and what it loads (hack/image/build.ts).
FROM scratch
COPY files /
ENV PATH=/usr/local/bin:/usr/bin:/bin
