// axios: the base URL. Download media from the `url` in Graph's answer: graphward has rewritten it to its own address.
//
//   import axios from "axios";
//   const graph = graphward(axios);

export function graphward(axios, address = "http://127.0.0.1:8080") {
  return axios.create({ baseURL: `${address}/v25.0` });
}
