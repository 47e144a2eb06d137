# A version of the demo's service, and its clients.
FROM scratch
COPY dist/image/peer /usr/local/bin/peer
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/peer"]
