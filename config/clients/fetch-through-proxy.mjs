// fetch, where the address cannot be changed: let it heed HTTPS_PROXY=http://127.0.0.1:8080, and trust graphward with
// NODE_EXTRA_CA_CERTS. Node 24 does so by itself with NODE_USE_ENV_PROXY=1. For media give a User-Agent of your own: Meta
// refuses that of undici.
//
//   import * as undici from "undici";
//   useProxyFromEnvironment(undici);

export function useProxyFromEnvironment({ EnvHttpProxyAgent, install, setGlobalDispatcher }) {
  setGlobalDispatcher(new EnvHttpProxyAgent());
  install(); // undici's own fetch, which fits its agents
}
