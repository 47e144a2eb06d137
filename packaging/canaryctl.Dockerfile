# canaryctl alone: one static binary, nobody's user, no shell. `scripts/images` builds it; the journal lies in
# /var/lib/canaryctl, which belongs on a volume:
#
#   docker run -v canaryctl:/var/lib/canaryctl -v ./rollout.yaml:/rollout.yaml canaryctl run /rollout.yaml
#
# Gates and notifications by https need the certificates of who is trusted: mount them to /etc/ssl/certs, or build with
# a base that has them, such as --build-arg BASE=gcr.io/distroless/static-debian12.
ARG BASE=scratch
FROM ${BASE}
COPY --chown=65532:65532 dist/image/state /var/lib/canaryctl
COPY dist/image/canaryctl /usr/local/bin/canaryctl
ENV XDG_STATE_HOME=/var/lib
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/canaryctl"]
