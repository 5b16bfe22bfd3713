# The broker as an image: built with npm, run without a shell as a user without rights.
#
#   docker build -t valetkey .
#   docker run -p 127.0.0.1:8420:8420 -e VALETKEY_ISSUER=https://broker.example \
#     -v valetkey:/var/lib/valetkey -v "$PWD/scopes:/etc/valetkey/scopes:ro" valetkey
#
# VALETKEY_ISSUER has no default: it is the https address by which agents and services reach this broker, with TLS
# ended in front of it.

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build && mkdir /state

FROM node:24-slim AS production
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

FROM gcr.io/distroless/nodejs24-debian12:nonroot
WORKDIR /app
COPY --from=production /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json package-lock.json LICENSE ./
# 65532 is the image's nonroot user; there is no shell here to change an owner with.
COPY --from=build --chown=65532:65532 --chmod=0700 /state /var/lib/valetkey
ENV NODE_ENV=production \
    VALETKEY_LISTEN=0.0.0.0:8420 \
    VALETKEY_STORE=sqlite:/var/lib/valetkey/broker.db \
    VALETKEY_MASTER_KEY_FILE=/var/lib/valetkey/master.key \
    VALETKEY_SCOPES=/etc/valetkey/scopes
VOLUME /var/lib/valetkey
EXPOSE 8420
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/nodejs/bin/node", "/app/dist/main.js", "doctor", "--health"]
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/main.js"]
CMD ["serve"]
