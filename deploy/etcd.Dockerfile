# An etcd for compose.yaml, compiled by `make etcd-image` at the version of go.mod, so that nothing is pulled. It is for looks
# and tests; a fleet has an etcd of three or five members that somebody looks after.
FROM scratch
LABEL org.opencontainers.image.title="etcd for dynmesh's compose file" \
      org.opencontainers.image.source="https://github.com/etcd-io/etcd" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY etcd /usr/local/bin/etcd
# An empty folder of the user's: a new volume takes its owner from the folder that it covers.
COPY --chown=65532:65532 data /data
USER 65532:65532
EXPOSE 2379
ENTRYPOINT ["/usr/local/bin/etcd"]
