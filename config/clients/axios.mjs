// axios: the base URL. Download media with the `url` that Graph's answer has: graphward has put its own address there.
//
//   import axios from "axios";
//   const graph = graphward(axios);

export function graphward(axios, address = "http://127.0.0.1:8080") {
  return axios.create({ baseURL: `${address}/v25.0` });
}
