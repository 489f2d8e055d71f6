// fetch, for a built-in address: it honors HTTPS_PROXY=http://127.0.0.1:8080 and trusts graphward by NODE_EXTRA_CA_CERTS. Node
// 24 does so without this module if NODE_USE_ENV_PROXY=1. For media, set a User-Agent: Meta refuses that of undici.
//
//   import * as undici from "undici";
//   useProxyFromEnvironment(undici);

export function useProxyFromEnvironment({ EnvHttpProxyAgent, install, setGlobalDispatcher }) {
  setGlobalDispatcher(new EnvHttpProxyAgent());
  install(); // undici's own fetch, which works with its agents
}
