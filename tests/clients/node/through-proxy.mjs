// Before Node 24, `fetch` heeds HTTPS_PROXY only with undici's help. Other libraries do so themselves.

import * as undici from "undici";

import { heedProxy } from "../../../config/clients/fetch-through-proxy.mjs";

heedProxy(undici);
