// Before Node 24, `fetch` honors HTTPS_PROXY only with the help of undici. Other libraries honor it themselves.

import * as undici from "undici";

import { useProxyFromEnvironment } from "../../../config/clients/fetch-through-proxy.mjs";

useProxyFromEnvironment(undici);
