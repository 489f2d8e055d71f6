<?php
// Sends one request as php-graph-sdk does with its curl client, and prints the status, the content coding and the body:
//
//   php graph.php METHOD URL [FORM]
//
// The SDK sends `Accept-Encoding: *` and decodes nothing: an answer that is compressed comes to nothing in it.
[, $method, $url] = $argv;
$form = $argv[3] ?? null;
$headers = ['User-Agent: fb-php-5.7.0', 'Accept-Encoding: *'];
if ($form !== null) {
    $headers[] = 'Content-Type: application/x-www-form-urlencoded';
}
$curl = curl_init();
curl_setopt_array($curl, [
    CURLOPT_CUSTOMREQUEST => $method,
    CURLOPT_HTTPHEADER => $headers,
    CURLOPT_URL => $url,
    CURLOPT_CONNECTTIMEOUT => 10,
    CURLOPT_TIMEOUT => 20,
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_HEADER => true,
] + ($form === null ? [] : [CURLOPT_POSTFIELDS => $form]));
$response = curl_exec($curl);
if ($response === false) {
    echo curl_error($curl), "\n";
    exit(1);
}
[$head, $body] = [substr($response, 0, curl_getinfo($curl, CURLINFO_HEADER_SIZE)),
    substr($response, curl_getinfo($curl, CURLINFO_HEADER_SIZE))];
preg_match('/^content-encoding: *(\S+)/mi', $head, $coding);
echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE), ' ', $coding[1] ?? 'identity', ' ';
echo json_decode($body) === null ? 'unreadable' : $body, "\n";
